// SPDX-License-Identifier: Apache-2.0
// One block per row: sine and cosine are computed once for all its heads.
#include "ops/rope.h"

#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/vector.cuh"

namespace vpref::cuda {
namespace {

constexpr int kThreads = 256;

// axis null: one row of positions.
struct Angles {
  const int32_t* positions;
  const float* inv_freq;
  const int32_t* axis;
};

// Destination of key and value heads; keys null: they stay in place.
template <class X>
struct Cache {
  X *keys, *values;
  const int32_t* rows;
  int64_t num_rows, key_stride, value_stride;
  int heads;
};

// Rows of `heads` heads that are rotated in place, followed by the heads for the cache.
template <class X>
struct HeadRows {
  X* x;
  int64_t stride;
  int heads, half;
};

// The first `heads` heads are rotated in place; the next cache.heads are rotated into the cache's row; the last
// cache.heads are copied there.
template <class X>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(HeadRows<X> rows, Angles angles, Cache<X> cache, bool inverse, bool wide) {
  const int heads = rows.heads, half = rows.half;
  float* cosine = dynamic_shared<float>();  // [half]
  float* sine = cosine + half;              // [half]
  grid_dependency_synchronize();
  for (int i = int(threadIdx.x); i < half; i += kThreads) {
    const int64_t row = angles.axis ? int64_t(angles.axis[i]) * gridDim.x : 0;
    float s, c;
    sincosf(float(angles.positions[row + blockIdx.x]) * angles.inv_freq[i], &s, &c);
    cosine[i] = c;
    sine[i] = inverse ? -s : s;
  }
  __syncthreads();
  X* row = rows.x + blockIdx.x * rows.stride;
  const int64_t to = cache.keys ? cache.rows[blockIdx.x] : -1;
  const bool cached = to >= 0 && to < cache.num_rows;
  const int groups = (half + kGroup - 1) / kGroup;
  for (int item = int(threadIdx.x); item < (heads + 2 * cache.heads) * groups; item += kThreads) {
    const int head = item / groups, i = item % groups * kGroup, count = half - i, kv = head - heads;
    if (kv >= 0 && !cached) break;  // heads are in ascending order
    X* first = row + int64_t(head) * 2 * half + i;
    float a[kGroup], b[kGroup];
    load_group(first, count, wide, a);
    load_group(first + half, count, wide, b);
    if (kv >= cache.heads) {
      first = cache.values + to * cache.value_stride + int64_t(kv - cache.heads) * 2 * half + i;
    } else {
      if (kv >= 0) first = cache.keys + to * cache.key_stride + int64_t(kv) * 2 * half + i;
#pragma unroll
      for (int k = 0; k < kGroup; ++k) {
        if (k >= count) break;
        const float c = cosine[i + k], s = sine[i + k], turned = a[k] * c - b[k] * s;
        b[k] = b[k] * c + a[k] * s;
        a[k] = turned;
      }
    }
    store_group(first, count, wide, a);
    store_group(first + half, count, wide, b);
  }
}

// heads: number of heads that stay in x.
template <class X>
void run(Context& ctx, const Tensor& x, const Rotation& rotation, const Cache<X>& cache, int heads, bool inverse,
         bool wide) {
  const Angles angles{rotation.positions.as<int32_t>(), rotation.inv_freq.as<float>(),
                      rotation.axis ? rotation.axis.as<int32_t>() : nullptr};
  const int half = int(x.dim(2) / 2);
  wide = wide && wide_rows(x) && half * int(sizeof(X)) % 16 == 0;
  launch_dependent(rope_kernel<X>, unsigned(x.dim(0)), kThreads, 2 * size_t(half) * sizeof(float), stream_of(ctx),
                   HeadRows<X>{x.as<X>(), x.stride[0], heads, half}, angles, cache, inverse, wide);
}

}  // namespace

void rope(Context& ctx, const Tensor& x, const Rotation& rotation, bool inverse) {
  with_activation_type("rope", x.dtype, [&](auto* t) {
    run(ctx, x, rotation, Cache<std::remove_pointer_t<decltype(t)>>{}, int(x.dim(1)), inverse, true);
  });
}

void rope_to_cache(Context& ctx, const Tensor& qkv, const Rotation& rotation, const Tensor& kv_rows, const Tensor& keys,
                   const Tensor& values) {
  with_activation_type("rope_to_cache", qkv.dtype, [&](auto* t) {
    using X = std::remove_pointer_t<decltype(t)>;
    const int kv_heads = int(keys.dim(1));
    const Cache<X> cache{keys.as<X>(),     values.as<X>(), kv_rows.as<int32_t>(), keys.dim(0), keys.stride[0],
                         values.stride[0], kv_heads};
    run(ctx, qkv, rotation, cache, int(qkv.dim(1)) - 2 * kv_heads, /*inverse=*/false, all_wide_rows(keys, values));
  });
}

}  // namespace vpref::cuda
