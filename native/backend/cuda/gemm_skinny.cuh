// SPDX-License-Identifier: Apache-2.0
// Skinny products: y[T,N] = alpha x[T,K] w[N,K]^T + beta y (+ bias) for at most 16 rows. Decoding uses them, and
// reading the weights once takes most of its time.
//
// A block computes 16 or 32 columns of y; its 8 warps take every eighth step of 64 k each. A lane copies the weights
// that it multiplies, 16 bytes at a time, into its own slots of shared memory, several steps ahead. So no thread waits
// for another until the warps' sums are joined, and the slots, not the registers, limit the bytes in flight. x is small
// and is read through L1.
//
// The order of k within a tensor-core product is free if both operands use the same one. Lane t of a group of four
// holds k 8t ... 8t+7 of every 32, as in memory, and passes them as k 2t, 2t+1, 2t+8, 2t+9 of two products.
//
// A row's sums have the same order for every T and block width, so a row gets the same bytes alone or with 15 others.
#pragma once
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/vector.cuh"
#include "core/context.h"

namespace vpref::cuda {

constexpr int kSkinnyRows = 16;  // more rows use cuBLASLt
constexpr int kSkinnyWarps = 8;  // constant for all shapes, because it determines the order of a sum
constexpr int kSkinnyStep = 64;  // k per warp and step: 128 bytes of each of its columns
constexpr int64_t kSkinnyMaxK = int64_t(1) << 30;

// Steps in flight: 64 KB per block of 16 columns (three blocks per SM), 96 KB per block of 32 (two).
template <int Columns>
constexpr int kSkinnyStages = Columns == 16 ? 4 : 3;
template <int Columns>
constexpr size_t kSkinnyWarpBytes = size_t(kSkinnyStages<Columns>) * Columns * kSkinnyStep * 2;

template <class Y>
struct SkinnyProduct {
  const __nv_bfloat16 *x, *w;
  const void* bias;  // or null
  DType bias_type;
  Y* y;
  int64_t x_stride, w_stride, y_stride;
  int64_t n;
  int k, rows;
  float alpha, beta;
};

// Tiles: 1 or 2, of 8 rows of x each.
template <int Tiles, int Columns, class Y>
__global__ void __launch_bounds__(kSkinnyWarps * 32, Columns == 16 ? 3 : 2) skinny_kernel(SkinnyProduct<Y> p) {
  constexpr int kStages = kSkinnyStages<Columns>, kLines = Columns / 8, kStride = Columns + 4;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int64_t first = int64_t(blockIdx.x) * Columns;

  // --- fetch weights: columns g, g + 8, ... of the block, in both halves of a step. Beyond the last column, that
  // column is read again; beyond K, zeros.
  unsigned char* const memory = dynamic_shared<unsigned char>();
  uint4* const slots = reinterpret_cast<uint4*>(memory + warp * kSkinnyWarpBytes<Columns>) + lane;
  const auto slot = [&](int stage, int half, int line) { return slots + ((stage * 2 + half) * kLines + line) * 32; };
  const int begin = warp * kSkinnyStep + t * 8;
  constexpr int kAdvance = kSkinnyWarps * kSkinnyStep;
  const __nv_bfloat16* weights[kLines];
#pragma unroll
  for (int line = 0; line < kLines; ++line)
    weights[line] = p.w + min(first + line * 8 + g, p.n - 1) * p.w_stride + begin;
  int ahead = begin;
  const auto fetch = [&](int stage) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int line = 0; line < kLines; ++line)
        cp_async_once(slot(stage, half, line), weights[line] + half * 32, ahead + half * 32 < p.k);
    cp_async_commit();
#pragma unroll
    for (int line = 0; line < kLines; ++line) weights[line] += kAdvance;
    ahead += kAdvance;
  };
#pragma unroll
  for (int stage = 0; stage < kStages; ++stage) fetch(stage);
  grid_dependency_synchronize();  // the previous launch writes x

  // x is loaded one step ahead, because the compiler moves the wait for copies to the front of its step, before the
  // step's own loads.
  const __nv_bfloat16* rows[Tiles];
#pragma unroll
  for (int tile = 0; tile < Tiles; ++tile) rows[tile] = p.x + (tile * 8 + g) * p.x_stride + begin;
  uint4 x[2][Tiles];
  const auto load = [&](int k) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int tile = 0; tile < Tiles; ++tile)
        x[half][tile] = load_ahead(rows[tile] + half * 32, tile * 8 + g < p.rows && k + half * 32 < p.k);
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) rows[tile] += kAdvance;
  };
  load(begin);
  float sums[Columns / 16][Tiles][4] = {};
  int stage = 0;
  for (int k = begin; k - t * 8 < p.k; k += kAdvance) {
    uint4 b[2][Tiles];
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int tile = 0; tile < Tiles; ++tile) b[half][tile] = x[half][tile];
    cp_async_wait<kStages - 1>();
    load(k + kAdvance);
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int pair = 0; pair < Columns / 16; ++pair) {
        const uint4 low = *slot(stage, half, 2 * pair), high = *slot(stage, half, 2 * pair + 1);
#pragma unroll
        for (int tile = 0; tile < Tiles; ++tile) {
          const uint4& v = b[half][tile];
          mma_m16n8k16<__nv_bfloat16>(sums[pair][tile], {low.x, high.x, low.y, high.y}, {v.x, v.y});
          mma_m16n8k16<__nv_bfloat16>(sums[pair][tile], {low.z, high.z, low.w, high.w}, {v.z, v.w});
        }
      }
    fetch(stage);
    stage = stage + 1 == kStages ? 0 : stage + 1;
  }

  // --- the warps' sums, [row][column] in the memory of each warp's slots, are added in the order of the warps
  static_assert(size_t(Tiles) * 8 * kStride * 4 <= kSkinnyWarpBytes<Columns>);
  cp_async_wait<0>();  // for the zeros beyond K
  __syncwarp();        // after all lanes have read their slots
  float* const mine = reinterpret_cast<float*>(memory + warp * kSkinnyWarpBytes<Columns>);
#pragma unroll
  for (int pair = 0; pair < Columns / 16; ++pair)
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        mine[(tile * 8 + 2 * t + i % 2) * kStride + pair * 16 + g + i / 2 * 8] = sums[pair][tile][i];
  __syncthreads();
  for (int i = threadIdx.x; i < p.rows * Columns; i += kSkinnyWarps * 32) {
    const int row = i / Columns, c = i % Columns;
    const int64_t column = first + c;
    if (column >= p.n) continue;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kSkinnyWarps; ++w)
      sum += reinterpret_cast<const float*>(memory + w * kSkinnyWarpBytes<Columns>)[row * kStride + c];
    // Explicit roundings, so that the compiler fuses the same operations for every block width.
    Y* const y = p.y + row * p.y_stride + column;
    float v = __fmul_rn(p.alpha, sum);
    if (p.beta != 0) v = __fmaf_rn(p.beta, load_f32(y), v);
    if (p.bias) v = __fadd_rn(v, load_as(p.bias_type, p.bias, column));
    store_f32(y, v);
  }
}

inline int multiprocessors() {
  static const int count = [] {
    int device = 0, found = 0;
    VPREF_CUDA_CHECK(cudaGetDevice(&device));
    VPREF_CUDA_CHECK(cudaDeviceGetAttribute(&found, cudaDevAttrMultiProcessorCount, device));
    return found;
  }();
  return count;
}

// dependent: the previous launch does not write the weights.
template <int Tiles, int Columns, class Y>
void launch_skinny(Context& ctx, const SkinnyProduct<Y>& p, bool dependent) {
  start(dependent, skinny_kernel<Tiles, Columns, Y>, unsigned((p.n + Columns - 1) / Columns), kSkinnyWarps * 32,
        kSkinnyWarps * kSkinnyWarpBytes<Columns>, stream_of(ctx), p);
}

// Every block reads all of x, so with many rows blocks are wide, unless that leaves SMs without a block.
template <class Y>
void multiply_skinny(Context& ctx, const SkinnyProduct<Y>& p, bool dependent) {
  const bool wide = p.rows > 4 && (p.n + 31) / 32 * 8 >= int64_t(multiprocessors()) * 7;
  if (p.rows > 8)
    wide ? launch_skinny<2, 32>(ctx, p, dependent) : launch_skinny<2, 16>(ctx, p, dependent);
  else
    wide ? launch_skinny<1, 32>(ctx, p, dependent) : launch_skinny<1, 16>(ctx, p, dependent);
}

}  // namespace vpref::cuda
