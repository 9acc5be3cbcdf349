// SPDX-License-Identifier: Apache-2.0
// Attention in plain f32 arithmetic: for f32 operands (tf32 would lose 13 bits), and for bf16 heads that the
// tensor-core kernels do not accept (rows not aligned to 16 bytes, more than 128 elements). 16 packed rows or keys per
// block, 4 per warp. A lane is a key (or a query) for scores, and every 32nd element of the head for sums of values.
#pragma once
#include "backend/cuda/attention_kernels.h"
#include "backend/cuda/vector.cuh"

namespace vpref::cuda {

constexpr int kPlainThreads = 128, kPlainRows = 16, kPlainStep = 32, kPlainWarpRows = kPlainRows / 4;
constexpr int kPlainChunks = kPlainHeadDim / 32;  // chunks of 32 elements of a head

inline size_t plain_forward_bytes(int d) { return sizeof(float) * size_t(kPlainRows * d + kPlainStep * (2 * d + 1)); }
inline size_t plain_backward_bytes(int d) {
  return sizeof(float) * size_t(2 * kPlainRows * d + 2 * kPlainStep * (d + 1));
}

__device__ inline float warp_sum(float v) {
  for (int step = 16; step > 0; step >>= 1) v += __shfl_xor_sync(0xffffffffu, v, step);
  return v;
}
__device__ inline float warp_max(float v) {
  for (int step = 16; step > 0; step >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, step));
  return v;
}

// to[r * length + c] = source(r)[c], 0 for a null row.
template <class Source>
__device__ void load_plain(float* to, int length, int rows, int d, Source source) {
  for (int i = threadIdx.x; i < rows * d; i += kPlainThreads) {
    const auto* row = source(i / d);
    to[i / d * length + i % d] = row ? load_f32(row + i % d) : 0.0f;
  }
}

__device__ inline float dot(const float* a, const float* b, int d) {
  float sum = 0.0f;
  for (int c = 0; c < d; ++c) sum = fmaf(a[c], b[c], sum);
  return sum;
}

// sum[i] += sum over lanes l of factor(l) * rows[l][lane + 32 i].
__device__ inline void add_rows(float (&sum)[kPlainChunks], float factor, const float* rows, int length, int d) {
  const int lane = threadIdx.x % 32;
  for (int l = 0; l < 32; ++l) {
    const float f = __shfl_sync(0xffffffffu, factor, l);
#pragma unroll
    for (int i = 0; i < kPlainChunks; ++i)
      if (lane + 32 * i < d) sum[i] = fmaf(f, rows[l * length + lane + 32 * i], sum[i]);
  }
}

template <class T>
__device__ void store_chunks(T* to, const float (&x)[kPlainChunks], float factor, int d) {
#pragma unroll
  for (int i = 0; i < kPlainChunks; ++i) {
    const int c = int(threadIdx.x) % 32 + 32 * i;
    if (c < d) store_f32(to + c, x[i] * factor);
  }
}

template <class T>
__global__ void __launch_bounds__(kPlainThreads) attention_plain_forward_kernel(const ForwardArgs<T> a) {
  const int d = a.d, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float *queries = dynamic_shared<float>(), *keys = queries + kPlainRows * d, *values = keys + kPlainStep * (d + 1);
  const QueryTile tile = a.tiles[blockIdx.x];
  if (tile.num_rows == 0) return;
  const HeadPack pack(a.pack, a.group);
  const int num_rows = tile.num_rows * pack.pack;
  const auto row_of = [&](int r) { return a.rows[tile.first_row + row_part(r, pack.pack)]; };
  const auto head_of = [&](int r) { return pack.first + head_part(r, pack.pack); };
  load_plain(queries, d, kPlainRows, d, [&](int r) -> const T* {
    return r < num_rows ? a.q + row_of(r).row * a.q_stride + int64_t(head_of(r)) * d : nullptr;
  });
  float out[kPlainWarpRows][kPlainChunks] = {}, max[kPlainWarpRows], sum[kPlainWarpRows] = {};
#pragma unroll
  for (int j = 0; j < kPlainWarpRows; ++j) max[j] = -INFINITY;

  for (KeyWalk<kPlainStep> walk(a.ranges + tile.first_range, tile.num_ranges); !walk.done(); walk.advance()) {
    __syncthreads();
    const int64_t head = int64_t(pack.kv_head) * d;
    load_plain(keys, d + 1, kPlainStep, d, [&](int r) -> const T* {
      return r < walk.count() ? a.k + (walk.row() + r) * a.k_stride + head : nullptr;
    });
    load_plain(values, d, kPlainStep, d, [&](int r) -> const T* {
      return r < walk.count() ? a.v + (walk.row() + r) * a.v_stride + head : nullptr;
    });
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kPlainWarpRows; ++j) {
      const int r = warp * kPlainWarpRows + j;
      if (r >= num_rows) continue;  // for the whole warp
      const float product = dot(queries + r * d, keys + lane * (d + 1), d) * a.scale;
      const TileRow row = row_of(r);
      const bool seen = lane < walk.seen(row.visible) && lane >= walk.hidden(row.hidden);
      const float score = seen ? product : -INFINITY;
      const float highest = fmaxf(max[j], warp_max(score)), base = highest == -INFINITY ? 0.0f : highest;
      const float correction = exp2f(max[j] - base), p = exp2f(score - base);
      max[j] = highest;
      sum[j] = sum[j] * correction + warp_sum(p);
#pragma unroll
      for (int i = 0; i < kPlainChunks; ++i) out[j][i] *= correction;
      add_rows(out[j], p, values, d, d);
    }
  }
#pragma unroll
  for (int j = 0; j < kPlainWarpRows; ++j) {
    const int r = warp * kPlainWarpRows + j;
    if (r >= num_rows) continue;
    const float inverse = sum[j] > 0.0f ? 1.0f / sum[j] : 0.0f,
                lse = sum[j] > 0.0f ? max[j] + log2f(sum[j]) : -INFINITY;
    if (tile.slot < 0) {
      const int64_t t = row_of(r).row;
      store_chunks(a.out + t * a.out_stride + int64_t(head_of(r)) * d, out[j], inverse, d);
      if (a.lse && lane == 0) a.lse[t * a.heads + head_of(r)] = lse * kLn2;
    } else {
      const int64_t at = int64_t(tile.slot + row_part(r, pack.pack)) * a.heads + head_of(r);
      store_chunks(a.partial + at * d, out[j], inverse, d);
      if (lane == 0) a.partial_lse[at] = lse;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kPlainThreads) attention_plain_backward_queries_kernel(const BackwardArgs<T> a) {
  const int d = a.d, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float *queries = dynamic_shared<float>(), *gradients = queries + kPlainRows * d, *keys = gradients + kPlainRows * d,
        *values = keys + kPlainStep * (d + 1);
  const QueryTile tile = a.tiles[blockIdx.x];
  const HeadPack pack(a.pack, a.group);
  const int num_rows = tile.num_rows * pack.pack;
  const auto row_of = [&](int r) { return a.rows[tile.first_row + row_part(r, pack.pack)]; };
  const auto head_of = [&](int r) { return pack.first + head_part(r, pack.pack); };
  load_plain(queries, d, kPlainRows, d, [&](int r) -> const T* {
    return r < num_rows ? a.q + row_of(r).row * a.q_stride + int64_t(head_of(r)) * d : nullptr;
  });
  load_plain(gradients, d, kPlainRows, d, [&](int r) -> const T* {
    return r < num_rows ? a.dout + row_of(r).row * a.dout_stride + int64_t(head_of(r)) * d : nullptr;
  });
  float dq[kPlainWarpRows][kPlainChunks] = {};

  for (KeyWalk<kPlainStep> walk(a.ranges + tile.first_range, tile.num_ranges); !walk.done(); walk.advance()) {
    __syncthreads();
    const int64_t head = int64_t(pack.kv_head) * d;
    load_plain(keys, d + 1, kPlainStep, d, [&](int r) -> const T* {
      return r < walk.count() ? a.k + (walk.row() + r) * a.k_stride + head : nullptr;
    });
    load_plain(values, d + 1, kPlainStep, d, [&](int r) -> const T* {
      return r < walk.count() ? a.v + (walk.row() + r) * a.v_stride + head : nullptr;
    });
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kPlainWarpRows; ++j) {
      const int r = warp * kPlainWarpRows + j;
      if (r >= num_rows) continue;
      const TileRow row = row_of(r);
      const float2 stats = a.stats[int64_t(row.row) * a.heads + head_of(r)];
      const float score = dot(queries + r * d, keys + lane * (d + 1), d) * (a.scale * kLog2E);
      const bool seen = lane < walk.seen(row.visible) && lane >= walk.hidden(row.hidden);
      const float p = seen ? exp2f(score - stats.x) : 0.0f;
      add_rows(dq[j], p * (dot(gradients + r * d, values + lane * (d + 1), d) - stats.y), keys, d + 1, d);
    }
  }
#pragma unroll
  for (int j = 0; j < kPlainWarpRows; ++j) {
    const int r = warp * kPlainWarpRows + j;
    if (r < num_rows) store_chunks(a.dq + row_of(r).row * a.dq_stride + int64_t(head_of(r)) * d, dq[j], a.scale, d);
  }
}

// blockIdx.z selects 16 keys of the key tile.
template <class T>
__global__ void __launch_bounds__(kPlainThreads) attention_plain_backward_keys_kernel(const BackwardArgs<T> a) {
  const int d = a.d, warp = threadIdx.x / 32, lane = threadIdx.x % 32, first_key = blockIdx.z * kPlainRows;
  float *keys = dynamic_shared<float>(), *values = keys + kPlainRows * d, *queries = values + kPlainRows * d,
        *gradients = queries + kPlainStep * (d + 1);
  const KeyTile tile = a.key_tiles[blockIdx.x];
  if (first_key >= tile.count) return;
  const int64_t kv_head = blockIdx.y;
  const int num_queries = tile.num_rows * a.group;
  const TileRow* rows = a.key_rows + tile.first_row;
  const auto head_of = [&](int i) { return kv_head * a.group + head_part(i, a.group); };
  const auto key_row = [&](const T* from, int64_t stride, int r) {
    return first_key + r < tile.count ? from + (tile.begin + first_key + r) * stride + kv_head * d : nullptr;
  };
  load_plain(keys, d, kPlainRows, d, [&](int r) { return key_row(a.k, a.k_stride, r); });
  load_plain(values, d, kPlainRows, d, [&](int r) { return key_row(a.v, a.v_stride, r); });
  float dk[kPlainWarpRows][kPlainChunks] = {}, dv[kPlainWarpRows][kPlainChunks] = {};

  for (int first = 0; first < num_queries; first += kPlainStep) {
    __syncthreads();
    load_plain(queries, d + 1, kPlainStep, d, [&](int r) -> const T* {
      const int i = first + r;
      return i < num_queries ? a.q + rows[row_part(i, a.group)].row * a.q_stride + head_of(i) * d : nullptr;
    });
    load_plain(gradients, d + 1, kPlainStep, d, [&](int r) -> const T* {
      const int i = first + r;
      return i < num_queries ? a.dout + rows[row_part(i, a.group)].row * a.dout_stride + head_of(i) * d : nullptr;
    });
    __syncthreads();
    const int i = first + lane;
    const TileRow row = i < num_queries ? rows[row_part(i, a.group)] : TileRow{0, 0};
    const float2 stats = i < num_queries ? a.stats[int64_t(row.row) * a.heads + head_of(i)] : make_float2(0.0f, 0.0f);
#pragma unroll
    for (int j = 0; j < kPlainWarpRows; ++j) {
      const int key = warp * kPlainWarpRows + j;
      const float score = dot(keys + key * d, queries + lane * (d + 1), d) * (a.scale * kLog2E);
      const bool seen = first_key + key < row.visible && first_key + key >= row.hidden;
      const float p = seen ? exp2f(score - stats.x) : 0.0f;
      add_rows(dv[j], p, gradients, d + 1, d);
      add_rows(dk[j], p * (dot(values + key * d, gradients + lane * (d + 1), d) - stats.y), queries, d + 1, d);
    }
  }
#pragma unroll
  for (int j = 0; j < kPlainWarpRows; ++j) {
    const int key = first_key + warp * kPlainWarpRows + j;
    if (key >= tile.count) continue;
    store_chunks(a.dk + (tile.begin + key) * a.dk_stride + kv_head * d, dk[j], a.scale, d);
    store_chunks(a.dv + (tile.begin + key) * a.dv_stride + kv_head * d, dv[j], 1.0f, d);
  }
}

}  // namespace vpref::cuda
