// SPDX-License-Identifier: Apache-2.0
// Shared by forward, backward and decoding: a call's operands, the key and value rows of a head packed as f32, the
// queries of a tile transposed for the product kernels, and the mask.
#pragma once
#include <cstdint>
#include <limits>

#include "backend/cpu/attention_plan.h"
#include "backend/cpu/kernels.h"
#include "ops/attention.h"

namespace vpref::cpu {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

inline int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Consecutive parts of scratch, each on its own cache lines.
struct Pieces {
  float* next;
  float* take(int64_t n) {
    float* p = next;
    next += up(n, 16);
    return p;
  }
};

// Data shared by all tiles of one call.
struct AttentionCall {
  AttentionCall(const Qkv& x, const AttentionPlan& plan, float scale)
      : q(x.q), k(x.k), v(x.v), plan(plan), scale(scale), d(q.dim(2)), group(q.dim(1) / k.dim(1)) {}
  int64_t kv_heads() const { return k.dim(1); }

  const Kernels& kn = kernels();
  const Tensor &q, &k, &v;
  const AttentionPlan& plan;
  float scale;
  int64_t d, group;  // elements per head; query heads per key/value head
};

// Rows of one head, packed as f32 with a stride that spreads them over the cache sets.
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
// null): the same, not transposed.
void pack_queries(const AttentionCall& call, const Tensor& x, const QueryBlock& tile, int64_t kv_head, float factor,
                  float* transposed, float* rows);
inline int64_t tile_lanes(const AttentionCall& call, const QueryBlock& tile) { return up(tile.count(), call.kn.lanes); }

// Sets the scores of keys that a query does not see to -inf; `visible` and `hidden` are relative to the block's first
// key.
void mask(float* scores, const QueryBlock& tile, int64_t keys, int64_t lanes, int64_t visible, int64_t hidden);

}  // namespace vpref::cpu
