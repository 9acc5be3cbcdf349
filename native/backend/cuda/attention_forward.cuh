// SPDX-License-Identifier: Apache-2.0
// Forward in bf16 on the tensor cores, f32 sums (FlashAttention-2, 2307.08691): one kernel in three shapes for prefill
// and decode.
//
// Shared memory of a block at D = 128, and blocks per multiprocessor (A100: 163 KB, H100: 227 KB; both 65536
// registers):
//   wide    128 rows, 4 warps of 32 rows   68.0 KB   2 by registers on both: one block multiplies while one copies
//   tile     64 rows, 4 warps of 16 rows   51.0 KB   3 / 3 by registers
//   decode   16 rows, 4 warps of 16 keys   38.3 KB   4 / 4-5: 17 KB each under way, 9 MB on the card
// A warp of 32 rows reads each key from shared memory once for two products: with 16 rows the tensor cores of an H100
// wait for shared memory.
#pragma once
#include "backend/cuda/attention_tile.cuh"

namespace vpref::cuda {

// WarpsM warps share the rows, MTiles x 16 each. WarpsN warps share the keys of a block; their results are merged at
// the end.
template <int D, int WarpsM, int WarpsN, int MTiles, int Blocks>
struct ForwardShape {
  static constexpr int kHeadDim = D, kWarpsN = WarpsN, kMTiles = MTiles, kBlocks = Blocks;
  static constexpr int kThreads = 32 * WarpsM * WarpsN, kRows = 16 * MTiles * WarpsM, kKeys = 64,
                       kNTiles = kKeys / WarpsN / 8;
  static constexpr size_t kSharedBytes = size_t(kRows + 2 * kKeys) * kRowLength<D> * sizeof(bf16);
  static_assert(WarpsN == 1 || (WarpsM == 1 && MTiles == 1), "only one tile of 16 rows is merged over warps");
};

// The running softmax of a thread's rows: row 16 m + lane / 4 + 8 h of its warp.
template <int MTiles, int D>
struct OnlineSoftmax {
  float out[MTiles][D / 8][4], max[MTiles][2], sum[MTiles][2];  // max as a power of two; sum over this thread's columns

  __device__ OnlineSoftmax() {
    clear(out);
#pragma unroll
    for (int m = 0; m < MTiles; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        max[m][h] = -INFINITY;
        sum[m][h] = 0.0f;
      }
  }

  // Adds a block of scores, which become exp(score - max). Earlier sums are rescaled to the new maximum.
  template <int NTiles>
  __device__ void step(float (&s)[MTiles][NTiles][4], float scale) {
#pragma unroll
    for (int m = 0; m < MTiles; ++m) {
      float correction[2];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float top = -INFINITY;
#pragma unroll
        for (int n = 0; n < NTiles; ++n) top = fmaxf(top, fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        const float highest = fmaxf(max[m][h], top * scale);
        const float base = highest == -INFINITY ? 0.0f : highest;  // a row without visible keys so far
        correction[h] = exp2_fast(max[m][h] - base);
        max[m][h] = highest;
        float added = 0.0f;
#pragma unroll
        for (int n = 0; n < NTiles; ++n)
#pragma unroll
          for (int e = 2 * h; e < 2 * h + 2; ++e) {
            s[m][n][e] = exp2_fast(s[m][n][e] * scale - base);
            added += s[m][n][e];
          }
        sum[m][h] = sum[m][h] * correction[h] + added;
      }
      if (!__any_sync(0xffffffffu, correction[0] != 1.0f || correction[1] != 1.0f))
        continue;  // most blocks do not raise the maximum
#pragma unroll
      for (int n = 0; n < D / 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) out[m][n][e] *= correction[e / 2];
    }
  }

  // Sums over the four threads that share a row.
  __device__ void finish() {
#pragma unroll
    for (int m = 0; m < MTiles; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        sum[m][h] += __shfl_xor_sync(0xffffffffu, sum[m][h], 1);
        sum[m][h] += __shfl_xor_sync(0xffffffffu, sum[m][h], 2);
      }
  }
};

// Keys from `seen[m][h]` on are hidden from the thread's rows; `first`: the block's key of the first score.
template <int MTiles, int NTiles>
__device__ void hide_scores(float (&s)[MTiles][NTiles][4], const int (&seen)[MTiles][2], int first) {
  const int column = first + threadIdx.x % 4 * 2;
#pragma unroll
  for (int m = 0; m < MTiles; ++m)
#pragma unroll
    for (int n = 0; n < NTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (column + n * 8 + e % 2 >= seen[m][e / 2]) s[m][n][e] = -INFINITY;
}

// Keys before `hidden[m][h]` are hidden from the thread's rows by a window.
template <int MTiles, int NTiles>
__device__ void hide_front(float (&s)[MTiles][NTiles][4], const int (&hidden)[MTiles][2], int first) {
  const int column = first + threadIdx.x % 4 * 2;
#pragma unroll
  for (int m = 0; m < MTiles; ++m)
#pragma unroll
    for (int n = 0; n < NTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (column + n * 8 + e % 2 < hidden[m][e / 2]) s[m][n][e] = -INFINITY;
}

// Merges in warp 0 the results of all warps for the same 16 rows; `shared` holds 4 x 16 x (D + 2) floats.
template <int D, int Warps>
__device__ void merge_warps(OnlineSoftmax<1, D>& x, float* shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float* sums = shared + Warps * 16 * D;
  const auto out_at = [&](int w, int h) { return shared + (w * 16 + lane / 4 + 8 * h) * D + lane % 4 * 2; };
  const auto sums_at = [&](int w, int h) { return sums + (w * 16 + lane / 4 + 8 * h) * 2; };
  __syncthreads();  // the keys and values there are no longer needed
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
      *reinterpret_cast<float2*>(out_at(warp, h) + n * 8) = make_float2(x.out[0][n][2 * h], x.out[0][n][2 * h + 1]);
    if (lane % 4 == 0) *reinterpret_cast<float2*>(sums_at(warp, h)) = make_float2(x.max[0][h], x.sum[0][h]);
  }
  __syncthreads();
  if (warp > 0) return;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float max = -INFINITY, sum = 0.0f, weight[Warps];
#pragma unroll
    for (int w = 0; w < Warps; ++w) max = fmaxf(max, sums_at(w, h)[0]);
#pragma unroll
    for (int w = 0; w < Warps; ++w) {
      weight[w] = max == -INFINITY ? 0.0f : exp2_fast(sums_at(w, h)[0] - max);
      sum += weight[w] * sums_at(w, h)[1];
    }
    x.max[0][h] = max;
    x.sum[0][h] = sum;
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
      float2 total = make_float2(0.0f, 0.0f);
#pragma unroll
      for (int w = 0; w < Warps; ++w) {
        const float2 o = *reinterpret_cast<const float2*>(out_at(w, h) + n * 8);
        total.x += weight[w] * o.x;
        total.y += weight[w] * o.y;
      }
      x.out[0][n][2 * h] = total.x;
      x.out[0][n][2 * h + 1] = total.y;
    }
  }
}

// Stores the result of packed row r, or its partial result: this thread's columns of rows h of the state's tile m.
template <int D, int MTiles>
__device__ void store_row(const ForwardArgs<bf16>& a, const QueryTile& tile, const HeadPack& pack, int r,
                          const OnlineSoftmax<MTiles, D>& state, int m, int h) {
  const float (&out)[D / 8][4] = state.out[m];
  const float max = state.max[m][h], sum = state.sum[m][h];
  const int row = row_part(r, pack.pack), head = pack.first + head_part(r, pack.pack), column = threadIdx.x % 4 * 2;
  const bool first = threadIdx.x % 4 == 0;
  const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f, lse = sum > 0.0f ? max + log2f(sum) : -INFINITY;
  if (tile.slot < 0) {
    const int64_t t = a.rows[tile.first_row + row].row;
    bf16* to = a.out + t * a.out_stride + int64_t(head) * a.d + column;
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
      if (n * 8 < a.d)
        *reinterpret_cast<uint32_t*>(to + n * 8) =
            pack_pair<bf16>(out[n][2 * h] * inverse, out[n][2 * h + 1] * inverse);
    if (a.lse && first) a.lse[t * a.heads + head] = lse * kLn2;
  } else {
    const int64_t at = int64_t(tile.slot + row) * a.heads + head;
    float* to = a.partial + at * a.d + column;
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
      if (n * 8 < a.d)
        *reinterpret_cast<float2*>(to + n * 8) = make_float2(out[n][2 * h] * inverse, out[n][2 * h + 1] * inverse);
    if (first) a.partial_lse[at] = lse;
  }
}

// A block: one query tile, one head or pack of heads. Keys and values alternate in two tiles of shared memory: one is
// filled while the other is used.
template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks) attention_forward_kernel(const ForwardArgs<bf16> a) {
  constexpr int D = Shape::kHeadDim, kMTiles = Shape::kMTiles, kNTiles = Shape::kNTiles, kKeys = Shape::kKeys;
  bf16* queries = dynamic_shared<bf16>();
  bf16 *keys = queries + Shape::kRows * kRowLength<D>, *values = keys + kKeys * kRowLength<D>;
  grid_dependency_synchronize();
  const QueryTile tile = a.tiles[blockIdx.x];
  if (tile.num_rows == 0) return;
  const HeadPack pack(a.pack, a.group);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, num_rows = tile.num_rows * pack.pack;
  const int first_row = warp / Shape::kWarpsN * 16 * kMTiles, first_key = warp % Shape::kWarpsN * 8 * kNTiles;

  int visible[kMTiles][2];
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = first_row + m * 16 + lane / 4 + 8 * h;
      visible[m][h] = r < num_rows ? a.rows[tile.first_row + row_part(r, pack.pack)].visible : 0;
    }
  const auto load = [&](bf16* to, const bf16* from, int64_t stride, const KeyWalk<kKeys>& walk) {
    const bf16* head = from + int64_t(pack.kv_head) * a.d;
    load_tile<D, kKeys, Shape::kThreads>(
        to, from, a.d, [&](int r) { return r < walk.count() ? head + (walk.row() + r) * stride : nullptr; });
    cp_async_commit();
  };

  load_tile<D, Shape::kRows, Shape::kThreads>(queries, a.q, a.d, [&](int r) {
    return r < num_rows ? a.q + a.rows[tile.first_row + row_part(r, pack.pack)].row * a.q_stride +
                              int64_t(pack.first + head_part(r, pack.pack)) * a.d
                        : nullptr;
  });
  KeyWalk<kKeys> walk(a.ranges + tile.first_range, tile.num_ranges);
  load(keys, a.k, a.k_stride, walk);
  OnlineSoftmax<kMTiles, D> state;
  while (!walk.done()) {
    cp_async_wait<0>();
    __syncthreads();
    load(values, a.v, a.v_stride, walk);
    float scores[kMTiles][kNTiles][4];
    clear(scores);
    add_row_products<D>(scores, queries + first_row * kRowLength<D>, keys + first_key * kRowLength<D>);
    if (walk.seen(tile.visible_to_all) < kKeys) {
      int seen[kMTiles][2];
#pragma unroll
      for (int m = 0; m < kMTiles; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) seen[m][h] = walk.seen(visible[m][h]);
      hide_scores(scores, seen, first_key);
    }
    if (walk.hidden(tile.hidden_from_some) > 0) {
      int hidden[kMTiles][2];
#pragma unroll
      for (int m = 0; m < kMTiles; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int r = first_row + m * 16 + lane / 4 + 8 * h;
          hidden[m][h] = r < num_rows ? walk.hidden(a.rows[tile.first_row + row_part(r, pack.pack)].hidden) : 0;
        }
      hide_front(scores, hidden, first_key);
    }
    walk.advance();
    cp_async_wait<0>();
    __syncthreads();
    if (!walk.done()) load(keys, a.k, a.k_stride, walk);
    state.step(scores, a.scale);
    add_product<D>(state.out, scores, values + first_key * kRowLength<D>);
  }
  state.finish();
  if constexpr (Shape::kWarpsN > 1) {
    merge_warps<D, Shape::kWarpsN>(state, reinterpret_cast<float*>(keys));
    if (warp > 0) return;
  }
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = first_row + m * 16 + lane / 4 + 8 * h;
      if (r < num_rows) store_row(a, tile, pack, r, state, m, h);
    }
}

}  // namespace vpref::cuda
