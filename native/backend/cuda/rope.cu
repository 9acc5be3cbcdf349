// SPDX-License-Identifier: Apache-2.0
// One block a row: sine and cosine once for all its heads.
#include "ops/rope.h"

#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/vector.cuh"

namespace vpref::cuda {
namespace {

constexpr int kThreads = 256;

template <class X>
__global__ void __launch_bounds__(kThreads) rope_kernel(X* x, const int32_t* positions, const float* inv_freq, int heads, int half, int64_t stride, bool inverse, bool wide) {
  float* cosine = dynamic_shared<float>();  // [half]
  float* sine = cosine + half;              // [half]
  const float position = float(positions[blockIdx.x]);
  for (int i = int(threadIdx.x); i < half; i += kThreads) {
    float s, c;
    sincosf(position * inv_freq[i], &s, &c);
    cosine[i] = c;
    sine[i] = inverse ? -s : s;
  }
  __syncthreads();
  X* row = x + blockIdx.x * stride;
  const int groups = (half + kGroup - 1) / kGroup;
  for (int item = int(threadIdx.x); item < heads * groups; item += kThreads) {
    const int i = item % groups * kGroup, count = half - i;
    X *first = row + int64_t(item / groups) * 2 * half + i, *second = first + half;
    float a[kGroup], b[kGroup];
    load_group(first, count, wide, a);
    load_group(second, count, wide, b);
#pragma unroll
    for (int k = 0; k < kGroup; ++k) {
      if (k >= count) break;
      const float c = cosine[i + k], s = sine[i + k], turned = a[k] * c - b[k] * s;
      b[k] = b[k] * c + a[k] * s;
      a[k] = turned;
    }
    store_group(first, count, wide, a);
    store_group(second, count, wide, b);
  }
}

}  // namespace

void rope(Context& ctx, const Tensor& x, const Tensor& positions, const Tensor& inv_freq, bool inverse) {
  const int heads = int(x.dim(1)), half = int(x.dim(2) / 2);
  with_activation_type("rope", x.dtype, [&](auto* t) {
    using X = std::remove_pointer_t<decltype(t)>;
    const bool wide = wide_rows(x) && half * int(sizeof(X)) % 16 == 0;
    launch(rope_kernel<X>, unsigned(x.dim(0)), kThreads, 2 * size_t(half) * sizeof(float), stream_of(ctx), x.as<X>(), positions.as<int32_t>(), inv_freq.as<float>(),
           heads, half, x.stride[0], inverse, wide);
  });
}

}  // namespace vpref::cuda
