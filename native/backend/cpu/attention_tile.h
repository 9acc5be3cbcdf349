// SPDX-License-Identifier: Apache-2.0
// What the ways of attention share: a call's operands, the key and value rows of a head packed as f32, the queries of a
// tile laid out for the product kernels, and the mask.
#pragma once
#include <cstdint>
#include <limits>

#include "backend/cpu/attention_plan.h"
#include "backend/cpu/kernels.h"
#include "ops/attention.h"

namespace vpref::cpu {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

inline int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Consecutive pieces of scratch, each on its own cache line.
struct Pieces {
  float* next;
  float* take(int64_t n) {
    float* p = next;
    next += up(n, 16);
    return p;
  }
};

// What all tiles of one call share.
struct AttentionCall {
  AttentionCall(const Qkv& x, const AttentionPlan& plan, float scale)
      : q(x.q), k(x.k), v(x.v), plan(plan), scale(scale), d(q.dim(2)), group(q.dim(1) / k.dim(1)) {}
  int64_t kv_heads() const { return k.dim(1); }

  const Kernels& kn = kernels();
  const Tensor &q, &k, &v;
  const AttentionPlan& plan;
  float scale;
  int64_t d, group;  // elements of a head; query heads of each key/value head
};

// Rows of one head, side by side as f32 with a stride that spreads them over the cache.
inline int64_t packed_stride(int64_t d) { return up(d, 16) + 16; }

void pack_rows(const Kernels& kn, const Tensor& x, int64_t head, const PackedRows& rows, int64_t begin, int64_t end,
               float* to);

// One key/value head, packed.
struct PackedHead {
  int64_t head;
  const PackedRows& rows;
  const float *keys, *values;
};

// transposed[e * lanes + i] = factor * x[query i of the tile, e], 0 beyond the tile; lanes: tile_lanes(). rows (or
// null): the same untransposed.
void pack_queries(const AttentionCall& call, const Tensor& x, const QueryBlock& tile, int64_t kv_head, float factor,
                  float* transposed, float* rows);
inline int64_t tile_lanes(const AttentionCall& call, const QueryBlock& tile) { return up(tile.count(), call.kn.lanes); }

// Scores of keys that a query does not see become -inf; `visible` and `hidden` as of the block's first key.
void mask(float* scores, const QueryBlock& tile, int64_t keys, int64_t lanes, int64_t visible, int64_t hidden);

}  // namespace vpref::cpu
