// SPDX-License-Identifier: Apache-2.0
// Attention over a prefix tree of packed rows. No padding, no mask: each span of query rows names the key/value rows it
// sees.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor.h"
#include "ops/dispatch.h"
#include "ops/kv_ranges.h"

namespace vpref {

// A path of the prefix tree: the first `shared` keys of its parent's (an earlier one, or none), then its own, num_keys
// in all.
struct KeyPath {
  int32_t parent = -1;
  int32_t shared = 0;
  int32_t num_keys = 0;
};

// Query rows [q_begin, q_begin + q_count) see the ranges [first_range, first_range + num_ranges) of
// AttentionPlan::ranges, in that order. With `causal` the last range ends with the span's own rows: query i sees its
// first count - q_count + i + 1 rows; all others whole. Prefill, decode (q_count 1), training and the vision tower
// (causal = false) are all cases of this.
struct AttentionSpan {
  int32_t q_begin;
  int32_t q_count;
  int32_t first_range;
  int32_t num_ranges;
  bool causal;
  // Of AttentionPlan::paths, whose keys the ranges begin with, all of one being the other's beginning; -1: shares none.
  int32_t path = -1;
};

struct AttentionPlan;

// What was derived from a plan (its copy on the device, tile lists; the same plan with a window), kept for the next
// layer's call. It belongs to one object: copies start empty.
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

// Lives on the host and does not change once an op has seen it.
struct AttentionPlan {
  std::vector<AttentionSpan> spans;  // disjoint, covering every query row
  std::vector<KvRange> ranges;
  // Which spans begin with the same keys. Only who reads keys once for several spans looks at them.
  std::vector<KeyPath> paths = {};
  // A step of decoding, each span one row. The CPU sums those in an order of their own, so it must not follow from the
  // sizes of the spans.
  bool is_decode = false;
  // A query sees this many keys at most, itself with them: the last ones of its ranges, which are its path. 0: all.
  // Only causal spans have one.
  int32_t window = 0;
  mutable PlanCache cache = {};
};

// The plan with a window: `plan` itself where no query sees more keys than that, else kept in its cache (of one window
// at a time).
const AttentionPlan& windowed(const AttentionPlan& plan, int32_t window);

// All keys of a span's ranges.
inline int64_t num_keys(const AttentionPlan& plan, const AttentionSpan& span) {
  int64_t keys = 0;
  for (int32_t r = 0; r < span.num_ranges; ++r) keys += plan.ranges[size_t(span.first_range + r)].count;
  return keys;
}

// How many keys at the front of a span's ranges its query `query` does not see.
inline int64_t hidden_keys(const AttentionPlan& plan, const AttentionSpan& span, int64_t query) {
  if (plan.window == 0) return 0;
  const int64_t seen = num_keys(plan, span) - span.q_count + query + 1;
  return seen > plan.window ? seen - plan.window : 0;
}

// Brings to the device what attention() derives from a plan, for q [T,H,D] and k [R,Hkv,D] of `dtype` with dense heads;
// else the first call does. What is returned stands for all that the launches of attention() depend on beside their
// operands; nothing on the CPU, which derives nothing.
std::vector<uint64_t> prepare_attention(Context& ctx, const AttentionPlan& plan, DType dtype, int64_t heads,
                                        int64_t kv_heads, int64_t head_dim);
VPREF_KERNELS(std::vector<uint64_t>, prepare_attention, Context&, const AttentionPlan&, DType, int64_t, int64_t,
              int64_t)

// Queries, keys and values, or their gradients. q: [T,H,D]; k, v: [R,Hkv,D]; H a multiple of Hkv.
struct Qkv {
  Tensor q, k, v;
};

// What attention() writes. out: [T,H,D]; lse: [T,H] f32, the log-sum-exp of the scaled scores (needed by the backward),
// or empty.
struct AttentionOutput {
  Tensor out, lse = {};
};

// out[t,h] = softmax(scale * q[t,h] . k[rows seen, h / (H/Hkv)]) v. All f32 or all bf16, row strides free.
// Online softmax in f32; scores are never stored. Throws shape, dtype.  Source: 2205.14135 (FlashAttention), plan:
// DESIGN "The prefix tree".
void attention(Context& ctx, const Qkv& x, const AttentionPlan& plan, float scale, const AttentionOutput& to);
VPREF_KERNELS(void, attention, Context&, const Qkv&, const AttentionPlan&, float, const AttentionOutput&)

// x, forward: what the forward read and wrote. dx.q is written; dx.k and dx.v are written whole: each row gets the sum
// over all spans (and query heads) that see it, rows seen by none get 0.
void attention_backward(Context& ctx, const Tensor& dout, const Qkv& x, const AttentionOutput& forward,
                        const AttentionPlan& plan, float scale, const Qkv& dx);
VPREF_KERNELS(void, attention_backward, Context&, const Tensor&, const Qkv&, const AttentionOutput&,
              const AttentionPlan&, float, const Qkv&)

}  // namespace vpref
