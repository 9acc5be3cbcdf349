// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.h"

#include <algorithm>
#include <utility>

#include "ops/check.h"

namespace vpref {
namespace {

// Heads are addressed as t * row_stride + h * D: only the row stride is arbitrary.
void check_heads(const char* op, const char* name, const Tensor& t, int64_t rows, int64_t heads, int64_t d,
                 DType dtype) {
  expect_shape(op, name, t, {rows, heads, d});
  expect_dtype(op, name, t, {dtype});
  expect_dense_rows(op, name, t);
}

void check_span(const char* op, const AttentionPlan& plan, size_t i, int64_t q_rows, int64_t kv_rows) {
  const AttentionSpan& s = plan.spans[i];
  check(s.q_begin >= 0 && s.q_count > 0 && int64_t(s.q_begin) + s.q_count <= q_rows, "shape", "[", op, "] span ", i,
        ": expected query rows within [0, ", q_rows, "), got [", s.q_begin, ", +", s.q_count, ")");
  check(s.num_ranges > 0 && s.first_range >= 0 && size_t(s.first_range) + size_t(s.num_ranges) <= plan.ranges.size(),
        "shape", "[", op, "] span ", i, ": expected at least one of the plan's ", plan.ranges.size(), " ranges");
  for (int r = 0; r < s.num_ranges; ++r) {
    const KvRange& range = plan.ranges[size_t(s.first_range + r)];
    check(range.begin >= 0 && range.count > 0 && int64_t(range.begin) + range.count <= kv_rows, "shape", "[", op,
          "] range ", s.first_range + r, ": expected rows within [0, ", kv_rows, "), got [", range.begin, ", +",
          range.count, ")");
  }
  check(s.path >= -1 && s.path < int32_t(plan.paths.size()), "shape", "[", op, "] span ", i,
        ": expected one of the plan's ", plan.paths.size(), " paths or -1, got ", s.path);
  const KvRange& last = plan.ranges[size_t(s.first_range + s.num_ranges - 1)];
  check(!s.causal || last.count >= s.q_count, "shape", "[", op, "] span ", i, ": expected a last range of at least ",
        s.q_count, " rows, got ", last.count);
  check(s.causal || plan.window == 0, "shape", "[", op, "] span ", i, ": expected a causal span, for a window of ",
        plan.window, " keys");
}

void check_plan(const char* op, const AttentionPlan& plan, int64_t q_rows, int64_t kv_rows) {
  check(plan.window >= 0, "shape", "[", op, "] window: expected 0 or more keys, got ", plan.window);
  for (size_t i = 0; i < plan.paths.size(); ++i) {
    const KeyPath& p = plan.paths[i];
    check(p.parent >= -1 && p.parent < int32_t(i), "shape", "[", op, "] path ", i,
          ": expected an earlier parent or -1, got ", p.parent);
    const int32_t max_shared = p.parent < 0 ? 0 : plan.paths[size_t(p.parent)].num_keys;
    check(p.shared >= 0 && p.shared <= std::min(max_shared, p.num_keys), "shape", "[", op, "] path ", i,
          ": expected to share at most ", std::min(max_shared, p.num_keys), " keys, got ", p.shared);
  }
  std::vector<char> covered(size_t(q_rows), 0);
  int64_t total = 0;
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    check_span(op, plan, i, q_rows, kv_rows);
    const AttentionSpan& s = plan.spans[i];
    for (int t = s.q_begin; t < s.q_begin + s.q_count; ++t) {
      check(!covered[size_t(t)], "shape", "[", op, "] query row ", t, ": in two spans");
      covered[size_t(t)] = 1;
    }
    total += s.q_count;
  }
  check(total == q_rows, "shape", "[", op, "] plan: expected all ", q_rows, " query rows, got ", total);
}

void check_qkv(const char* op, const Qkv& x, const Tensor& out) {
  const auto& [q, k, v] = x;
  expect_shape(op, "q", q, {-1, -1, -1});
  expect_activation(op, "q", q);
  expect_shape(op, "k", k, {-1, -1, q.dim(2)});
  check(k.dim(1) > 0 && q.dim(1) % k.dim(1) == 0, "shape", "[", op, "] k: expected a divisor of ", q.dim(1),
        " heads, got ", k);
  check_heads(op, "q", q, q.dim(0), q.dim(1), q.dim(2), q.dtype);
  check_heads(op, "k", k, k.dim(0), k.dim(1), q.dim(2), q.dtype);
  check_heads(op, "v", v, k.dim(0), k.dim(1), q.dim(2), q.dtype);
  check_heads(op, "out", out, q.dim(0), q.dim(1), q.dim(2), q.dtype);
}

void check_lse(const char* op, const Tensor& lse, const Tensor& q) {
  expect_shape(op, "lse", lse, {q.dim(0), q.dim(1)});
  expect_dtype(op, "lse", lse, {DType::f32});
  check(lse.dense(), "shape", "[", op, "] lse: expected a dense tensor");
}

}  // namespace

const AttentionPlan& windowed(const AttentionPlan& plan, int32_t window) {
  if (window == 0) return plan;
  std::shared_ptr<const AttentionPlan>& kept = plan.cache.windowed;
  if (kept && kept->window == window) return *kept;
  const bool hides = std::any_of(plan.spans.begin(), plan.spans.end(),
                                 [&](const AttentionSpan& s) { return num_keys(plan, s) > window; });
  if (!hides) return plan;
  auto made = std::make_shared<AttentionPlan>(plan);
  made->window = window;
  kept = std::move(made);
  return *kept;
}

std::vector<uint64_t> prepare_attention(Context& ctx, const AttentionPlan& plan, DType dtype, int64_t heads,
                                        int64_t kv_heads, int64_t head_dim) {
  return VPREF_DISPATCH(ctx, prepare_attention, plan, dtype, heads, kv_heads, head_dim);
}

void attention(Context& ctx, const Qkv& x, const AttentionPlan& plan, float scale, const AttentionOutput& to) {
  check_qkv("attention", x, to.out);
  if (to.lse) check_lse("attention", to.lse, x.q);
  check_plan("attention", plan, x.q.dim(0), x.k.dim(0));
  if (x.q.numel() == 0) return;
  VPREF_DISPATCH(ctx, attention, x, plan, scale, to);
}

void attention_backward(Context& ctx, const Tensor& dout, const Qkv& x, const AttentionOutput& forward,
                        const AttentionPlan& plan, float scale, const Qkv& dx) {
  constexpr const char* op = "attention_backward";
  const Tensor &q = x.q, &k = x.k;
  check_qkv(op, x, forward.out);
  check_lse(op, forward.lse, q);
  check_heads(op, "dout", dout, q.dim(0), q.dim(1), q.dim(2), q.dtype);
  check_heads(op, "dq", dx.q, q.dim(0), q.dim(1), q.dim(2), q.dtype);
  check_heads(op, "dk", dx.k, k.dim(0), k.dim(1), q.dim(2), q.dtype);
  check_heads(op, "dv", dx.v, k.dim(0), k.dim(1), q.dim(2), q.dtype);
  check_plan(op, plan, q.dim(0), k.dim(0));
  if (q.numel() == 0 && k.numel() == 0) return;
  VPREF_DISPATCH(ctx, attention_backward, dout, x, forward, plan, scale, dx);
}

}  // namespace vpref
