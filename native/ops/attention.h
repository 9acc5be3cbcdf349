// SPDX-License-Identifier: Apache-2.0
// Attention over a prefix tree of packed rows. No padding, no mask: each span of query rows lists the key/value rows
// that it attends to.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor.h"
#include "ops/dispatch.h"
#include "ops/kv_ranges.h"

namespace vpref {

// A path of the prefix tree: the first `shared` keys of its parent's path (an earlier path, or none), then its own
// keys; num_keys in total.
struct KeyPath {
  int32_t parent = -1;
  int32_t shared = 0;
  int32_t num_keys = 0;
};

// Query rows [q_begin, q_begin + q_count) attend to the ranges [first_range, first_range + num_ranges) of
// AttentionPlan::ranges, in that order. If `causal`, the last range ends with the span's own rows: query i sees the
// first count - q_count + i + 1 rows of it, and all rows of the other ranges. Prefill, decode (q_count 1), training and
// the vision tower (causal = false) are special cases.
struct AttentionSpan {
  int32_t q_begin;
  int32_t q_count;
  int32_t first_range;
  int32_t num_ranges;
  bool causal;
  // Index into AttentionPlan::paths: the keys of the ranges begin with that path's keys, or the reverse; -1: nothing is
  // shared.
  int32_t path = -1;
};

struct AttentionPlan;

// Data derived from a plan and kept for the next layer's call: its copy on the device, tile lists, the plan with a
// window. It belongs to one object; copies start empty.
struct PlanCache {
  PlanCache() = default;
  PlanCache(const PlanCache&) {}
  PlanCache& operator=(const PlanCache&) {
    derived.reset();
    windowed.reset();
    return *this;
  }
  std::shared_ptr<void> derived;
  std::shared_ptr<const AttentionPlan> windowed;
};

// Host memory. Constant after its first use by an op.
struct AttentionPlan {
  std::vector<AttentionSpan> spans;  // disjoint; together they cover every query row
  std::vector<KvRange> ranges;
  // Which spans begin with the same keys. Read only by kernels that load keys once for several spans.
  std::vector<KeyPath> paths = {};
  // A decoding step: each span is one row. The CPU then sums in another order, so the caller sets this; it must not
  // depend on the sizes of the spans.
  bool is_decode = false;
  // Maximum number of keys that a query attends to, including its own: the last keys of its ranges, which are its path.
  // 0: all. Only causal spans have a window.
  int32_t window = 0;
  mutable PlanCache cache = {};
};

// The plan with a window: `plan` itself if no query has more keys, else a copy in its cache. The cache holds one
// window.
const AttentionPlan& windowed(const AttentionPlan& plan, int32_t window);

// Number of keys in a span's ranges.
inline int64_t num_keys(const AttentionPlan& plan, const AttentionSpan& span) {
  int64_t keys = 0;
  for (int32_t r = 0; r < span.num_ranges; ++r) keys += plan.ranges[size_t(span.first_range + r)].count;
  return keys;
}

// Number of keys at the front of a span's ranges that its query `query` does not see.
inline int64_t hidden_keys(const AttentionPlan& plan, const AttentionSpan& span, int64_t query) {
  if (plan.window == 0) return 0;
  const int64_t seen = num_keys(plan, span) - span.q_count + query + 1;
  return seen > plan.window ? seen - plan.window : 0;
}

// Copies to the device what attention() derives from a plan, for q [T,H,D] and k [R,Hkv,D] of `dtype` with dense heads;
// otherwise the first call does it. The result stands for everything that the launches of attention() depend on, except
// their operands. On the CPU nothing is derived, and the result is empty.
std::vector<uint64_t> prepare_attention(Context& ctx, const AttentionPlan& plan, DType dtype, int64_t heads,
                                        int64_t kv_heads, int64_t head_dim);
VPREF_KERNELS(std::vector<uint64_t>, prepare_attention, Context&, const AttentionPlan&, DType, int64_t, int64_t,
              int64_t)

// Queries, keys and values, or their gradients. q: [T,H,D]; k, v: [R,Hkv,D]; H a multiple of Hkv.
struct Qkv {
  Tensor q, k, v;
};

// Outputs of attention(). out: [T,H,D]; lse: [T,H] f32, the log-sum-exp of the scaled scores (needed by the backward),
// or empty.
struct AttentionOutput {
  Tensor out, lse = {};
};

// out[t,h] = softmax(scale * q[t,h] . k[rows of the span, h / (H/Hkv)]) v. All f32 or all bf16, any row strides. Online
// softmax in f32; scores are never stored. Throws shape, dtype.  Source: 2205.14135 (FlashAttention); the prefix tree:
// model/tree.h.
void attention(Context& ctx, const Qkv& x, const AttentionPlan& plan, float scale, const AttentionOutput& to);
VPREF_KERNELS(void, attention, Context&, const Qkv&, const AttentionPlan&, float, const AttentionOutput&)

// x, forward: inputs and outputs of the forward. dx.q is overwritten. dx.k and dx.v are overwritten too: each row gets
// the sum over all spans (and query heads) that attend to it, or 0.
void attention_backward(Context& ctx, const Tensor& dout, const Qkv& x, const AttentionOutput& forward,
                        const AttentionPlan& plan, float scale, const Qkv& dx);
VPREF_KERNELS(void, attention_backward, Context&, const Tensor&, const Qkv&, const AttentionOutput&,
              const AttentionPlan&, float, const Qkv&)

}  // namespace vpref
