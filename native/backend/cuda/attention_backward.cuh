// SPDX-License-Identifier: Apache-2.0
// Backward in bf16 on the tensor cores, f32 sums, no atomics: with P = exp(S - lse), the global log-sum-exp of the
// forward, and delta = rowsum(dO O): dS = P (dO V^T - delta), dQ = scale dS K by query tiles, dV = P^T dO and dK =
// scale dS^T Q by key tiles. S and dO V^T are computed in both kernels: 7 products where atomics on dQ need 5, but the
// same bits every time.
//
// Shared memory at D = 128: 68 KB + 1 KB in either kernel, two blocks a multiprocessor on an A100 (163 KB); registers
// allow two (key tiles: dk and dv alone are 128 a thread) and three (query tiles) on an H100 (227 KB).
#pragma once
#include "backend/cuda/attention_tile.cuh"

namespace vpref::cuda {

constexpr int kBackwardThreads = 128;
constexpr int kBackwardStep =
    32;  // keys per step over a query tile, and queries per step over a key tile; shared memory holds two steps

template <int D>
constexpr size_t kBackwardTileBytes = size_t(2 * 64 + 4 * kBackwardStep) * kRowLength<D> * sizeof(bf16);
template <int D>
constexpr size_t kKeyTileBytes = kBackwardTileBytes<D> + 2 * kBackwardStep * (sizeof(float2) + sizeof(int2));

// Stores a warp's 16 rows of a result, times `factor`; source as in load_tile.
template <int D, class Target>
__device__ void store_rows(const float (&x)[1][D / 8][4], float factor, int d, Target target) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    bf16* to = target(lane / 4 + 8 * h);
    if (!to) continue;
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
      if (n * 8 < d)
        *reinterpret_cast<uint32_t*>(to + n * 8 + lane % 4 * 2) =
            pack_pair<bf16>(x[0][n][2 * h] * factor, x[0][n][2 * h + 1] * factor);
  }
}

// Whether the query of a score sees its key, and the query's stats (lse to base 2, delta).
struct ScoreOf {
  bool seen;
  float2 stats;
};

// The product a b^T of rows in shared memory.
struct RowProduct {
  const bf16 *a, *b;
};

// p = exp(S - lse), 0 for hidden keys, and ds = p (dP - delta), for 16 rows of a warp; S and dP are the given products.
// score_of(n, e): of accumulator e of tile n.
template <int D, int NTiles, class Of>
__device__ void differentiate(float (&p)[1][NTiles][4], float (&ds)[1][NTiles][4], const RowProduct& score,
                              const RowProduct& dscore, float scale, Of score_of) {
  clear(p);
  clear(ds);
  add_row_products<D>(p, score.a, score.b);
  add_row_products<D>(ds, dscore.a, dscore.b);
#pragma unroll
  for (int n = 0; n < NTiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const ScoreOf of = score_of(n, e);
      p[0][n][e] = of.seen ? exp2_fast(p[0][n][e] * (scale * kLog2E) - of.stats.x) : 0.0f;
      ds[0][n][e] = p[0][n][e] * (ds[0][n][e] - of.stats.y);
    }
}

// A block: 64 packed rows of a query tile, 16 per warp, against all keys that they see.
template <int D>
__global__ void __launch_bounds__(kBackwardThreads, 3) attention_backward_queries_kernel(const BackwardArgs<bf16> a) {
  constexpr int kStep = kBackwardStep, kTile = kStep * kRowLength<D>, kNTiles = kStep / 8;
  bf16* queries = dynamic_shared<bf16>();
  bf16 *gradients = queries + kTileRows * kRowLength<D>, *keys = gradients + kTileRows * kRowLength<D>,
       *values = keys + 2 * kTile;
  const QueryTile tile = a.tiles[blockIdx.x];
  const HeadPack pack(a.pack, a.group);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, num_rows = tile.num_rows * pack.pack;
  const auto row_of = [&](int r) { return int64_t(a.rows[tile.first_row + row_part(r, pack.pack)].row); };
  const auto head_of = [&](int r) { return int64_t(pack.first + head_part(r, pack.pack)); };

  int visible[2], hidden[2];
  float2 stats[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int r = warp * 16 + lane / 4 + 8 * h;
    visible[h] = r < num_rows ? a.rows[tile.first_row + row_part(r, pack.pack)].visible : 0;
    hidden[h] = r < num_rows ? a.rows[tile.first_row + row_part(r, pack.pack)].hidden : 0;
    stats[h] = r < num_rows ? a.stats[row_of(r) * a.heads + head_of(r)] : make_float2(0.0f, 0.0f);
  }
  const auto load_keys = [&](int stage, const KeyWalk<kStep>& walk) {
    const int64_t head = int64_t(pack.kv_head) * a.d;
    load_tile<D, kStep, kBackwardThreads>(keys + stage * kTile, a.k, a.d, [&](int r) {
      return r < walk.count() ? a.k + (walk.row() + r) * a.k_stride + head : nullptr;
    });
    load_tile<D, kStep, kBackwardThreads>(values + stage * kTile, a.v, a.d, [&](int r) {
      return r < walk.count() ? a.v + (walk.row() + r) * a.v_stride + head : nullptr;
    });
    cp_async_commit();
  };

  load_tile<D, kTileRows, kBackwardThreads>(queries, a.q, a.d, [&](int r) {
    return r < num_rows ? a.q + row_of(r) * a.q_stride + head_of(r) * a.d : nullptr;
  });
  load_tile<D, kTileRows, kBackwardThreads>(gradients, a.dout, a.d, [&](int r) {
    return r < num_rows ? a.dout + row_of(r) * a.dout_stride + head_of(r) * a.d : nullptr;
  });
  KeyWalk<kStep> walk(a.ranges + tile.first_range, tile.num_ranges), next = walk;
  load_keys(0, walk);
  float dq[1][D / 8][4];
  clear(dq);
  for (int stage = 0; !walk.done(); stage ^= 1) {
    next.advance();
    if (!next.done()) {
      load_keys(stage ^ 1, next);
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    __syncthreads();
    float p[1][kNTiles][4], ds[1][kNTiles][4];
    differentiate<D>(p, ds, {queries + warp * 16 * kRowLength<D>, keys + stage * kTile},
                     {gradients + warp * 16 * kRowLength<D>, values + stage * kTile}, a.scale, [&](int n, int e) {
                       const int key = n * 8 + lane % 4 * 2 + e % 2;
                       return ScoreOf{key < walk.seen(visible[e / 2]) && key >= walk.hidden(hidden[e / 2]),
                                      stats[e / 2]};
                     });
    add_product<D>(dq, ds, keys + stage * kTile);
    __syncthreads();  // before the next step's copies land here
    walk = next;
  }
  store_rows<D>(dq, a.scale, a.d, [&](int i) {
    const int r = warp * 16 + i;
    return r < num_rows ? a.dq + row_of(r) * a.dq_stride + head_of(r) * a.d : nullptr;
  });
}

// A block: 64 keys of one key/value head, 16 a warp, against all rows that see them, of all heads of the group. Scores
// are kept transposed, keys down and queries across, so that they multiply from registers.
template <int D>
__global__ void __launch_bounds__(kBackwardThreads, 2) attention_backward_keys_kernel(const BackwardArgs<bf16> a) {
  constexpr int kStep = kBackwardStep, kTile = kStep * kRowLength<D>, kNTiles = kStep / 8;
  bf16* keys = dynamic_shared<bf16>();
  bf16 *values = keys + kKeyTileRows * kRowLength<D>, *queries = values + kKeyTileRows * kRowLength<D>,
       *gradients = queries + 2 * kTile;
  float2* stats = reinterpret_cast<float2*>(gradients + 2 * kTile);
  int2* seen = reinterpret_cast<int2*>(stats + 2 * kStep);  // keys [x, y) of the tile
  const KeyTile tile = a.key_tiles[blockIdx.x];
  const int64_t kv_head = blockIdx.y;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, num_queries = tile.num_rows * a.group;
  const TileRow* rows = a.key_rows + tile.first_row;
  const auto head_of = [&](int i) { return kv_head * a.group + head_part(i, a.group); };

  const auto load_queries = [&](int stage, int first) {
    load_tile<D, kStep, kBackwardThreads>(queries + stage * kTile, a.q, a.d, [&](int r) {
      const int i = first + r;
      return i < num_queries ? a.q + rows[row_part(i, a.group)].row * a.q_stride + head_of(i) * a.d : nullptr;
    });
    load_tile<D, kStep, kBackwardThreads>(gradients + stage * kTile, a.dout, a.d, [&](int r) {
      const int i = first + r;
      return i < num_queries ? a.dout + rows[row_part(i, a.group)].row * a.dout_stride + head_of(i) * a.d : nullptr;
    });
    if (threadIdx.x < kStep) {
      const int i = first + threadIdx.x;
      const TileRow row = i < num_queries ? rows[row_part(i, a.group)] : TileRow{0, 0};
      seen[stage * kStep + threadIdx.x] = make_int2(row.hidden, row.visible);
      cp_async<8>(stats + stage * kStep + threadIdx.x, a.stats + int64_t(row.row) * a.heads + head_of(i),
                  i < num_queries);
    }
    cp_async_commit();
  };
  const auto load_keys = [&](bf16* to, const bf16* from, int64_t stride) {
    load_tile<D, kKeyTileRows, kBackwardThreads>(to, from, a.d, [&](int r) {
      return r < tile.count ? from + (tile.begin + r) * stride + kv_head * a.d : nullptr;
    });
  };

  float dk[1][D / 8][4], dv[1][D / 8][4];
  clear(dk);
  clear(dv);
  if (num_queries > 0) {
    load_keys(keys, a.k, a.k_stride);
    load_keys(values, a.v, a.v_stride);
    load_queries(0, 0);
  }
  for (int first = 0, stage = 0; first < num_queries; first += kStep, stage ^= 1) {
    if (first + kStep < num_queries) {
      load_queries(stage ^ 1, first + kStep);
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    __syncthreads();
    float p[1][kNTiles][4], ds[1][kNTiles][4];
    differentiate<D>(p, ds, {keys + warp * 16 * kRowLength<D>, queries + stage * kTile},
                     {values + warp * 16 * kRowLength<D>, gradients + stage * kTile}, a.scale, [&](int n, int e) {
                       const int query = stage * kStep + n * 8 + lane % 4 * 2 + e % 2,
                                 key = warp * 16 + lane / 4 + e / 2 * 8;
                       return ScoreOf{key < seen[query].y && key >= seen[query].x, stats[query]};
                     });
    add_product<D>(dv, p, gradients + stage * kTile);
    add_product<D>(dk, ds, queries + stage * kTile);
    __syncthreads();  // before the next step's copies land here
  }
  const auto target = [&](bf16* to, int64_t stride) {
    return [=](int i) {
      return warp * 16 + i < tile.count ? to + (tile.begin + warp * 16 + i) * stride + kv_head * a.d : nullptr;
    };
  };
  store_rows<D>(dk, a.scale, a.d, target(a.dk, a.dk_stride));
  store_rows<D>(dv, 1.0f, a.d, target(a.dv, a.dv_stride));
}

}  // namespace vpref::cuda
