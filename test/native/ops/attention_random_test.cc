// SPDX-License-Identifier: Apache-2.0
// Covers native/backend/cuda/attention_forward.cu native/backend/cuda/attention_backward.cu
// Covers native/backend/cpu/attention_backward.cc
// Covers native/backend/cuda/attention_plain.cu
// Covers native/backend/cuda/attention_lists.cu, native/backend/cuda/attention.cu
// Attention over random trees, caches and image batches against the float64 loops; head sizes, groups and row strides
// of every kernel shape.
#include "ops/attention.h"

#include <utility>

#include "ops/attention_bounds.h"
#include "ops/attention_plans.h"
#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using AttentionRandomTest = OpTest;
VPREF_OP_TEST(AttentionRandomTest);

struct Shape {
  int64_t heads, kv_heads, d, gap;  // gap: elements between rows
};

// Head sizes of the models (also no multiple of 8, and larger than the tensor-core kernels accept), with and without
// groups, with gaps that keep rows aligned or not.
const Shape kShapes[] = {{2, 2, 64, 0},  {4, 2, 32, 64}, {2, 1, 128, 128}, {3, 3, 16, 8}, {2, 2, 80, 0}, {7, 1, 24, 48},
                         {1, 1, 96, 32}, {2, 1, 20, 4},  {1, 1, 136, 0},   {2, 2, 8, 3},  {1, 1, 5, 0}};

TEST_P(AttentionRandomTest, ForwardAndBackwardEqualTheReference) {
  const bool on_cpu = ctx.device == Device::cpu;
  int trial = 0;
  for (const Shape& s : kShapes)
    for (int kind = 0; kind < 3; ++kind) {
      std::mt19937 random(unsigned(100 + trial++));
      const RandomPlan r = random_plan(random, kind,
                                       {.roots = 1,
                                        .depth = 3,
                                        .children = 2,
                                        .longest = dtype() == DType::f32 ? 50
                                                   : s.d > 64            ? 70
                                                                         : 150});
      SCOPED_TRACE(::testing::Message() << "heads " << s.heads << "/" << s.kv_heads << " d " << s.d << " kind " << kind
                                        << " rows " << r.q_rows << "/" << r.kv_rows);
      const float scale = 1.0f / std::sqrt(float(s.d));
      Operand q = operand({r.q_rows, s.heads, s.d}, normal(r.q_rows * s.heads * s.d), s.gap);
      Operand k = operand({r.kv_rows, s.kv_heads, s.d}, normal(r.kv_rows * s.kv_heads * s.d), s.gap);
      Operand v = operand({r.kv_rows, s.kv_heads, s.d}, normal(r.kv_rows * s.kv_heads * s.d), 2 * s.gap);
      Operand out = operand({r.q_rows, s.heads, s.d}, Values(q.values().size(), NAN), s.gap);
      Operand lse = operand(DType::f32, {r.q_rows, s.heads}, Values(size_t(r.q_rows * s.heads), NAN));
      const auto expected =
          reference::attention(q.values(), k.values(), v.values(), r.plan, s.heads, s.kv_heads, s.d, double(scale));
      attention(ctx, {q.view(), k.view(), v.view()}, r.plan, scale, {out.view(), lse.view()});
      Operand dout = operand({r.q_rows, s.heads, s.d}, normal(r.q_rows * s.heads * s.d), s.gap);
      const AttentionRounding rounding = attention_rounding(ctx.device, dtype(), s.d, std::max(r.q_rows, r.kv_rows));
      const AttentionBounds bound = attention_bounds(
          {q.values(), k.values(), v.values(), dout.values(), r.plan, s.heads, s.kv_heads, s.d, double(scale)},
          rounding);
      expect_within("out", out, expected.out, bound.out);
      expect_within("lse", lse, expected.lse, bound.lse);

      Operand stored = operand({r.q_rows, s.heads, s.d}, expected.out, s.gap),
              exact = operand(DType::f32, {r.q_rows, s.heads}, expected.lse);
      Operand dq = operand({r.q_rows, s.heads, s.d}, Values(q.values().size(), NAN), s.gap);
      Operand dk = operand({r.kv_rows, s.kv_heads, s.d}, Values(k.values().size(), NAN), s.gap),
              dv = operand({r.kv_rows, s.kv_heads, s.d}, Values(v.values().size(), NAN));
      const auto g = reference::attention_backward(dout.values(), q.values(), k.values(), v.values(), r.plan, s.heads,
                                                   s.kv_heads, s.d, double(scale));
      attention_backward(ctx, dout.view(), {q.view(), k.view(), v.view()}, {stored.view(), exact.view()}, r.plan, scale,
                         {dq.view(), dk.view(), dv.view()});
      expect_within("dq", dq, g.dq, bound.dq, rounding.storage);
      expect_within("dk", dk, g.dk, bound.dk, rounding.storage);
      expect_within("dv", dv, g.dv, bound.dv, rounding.storage);
      if (HasFailure()) return;
      if (on_cpu && trial > 12) return;  // the CPU's own tests cover more
    }
}

// A plan's lists stay on the device between layers; other heads or rows, or a changed copy of the plan, get new ones.
TEST_P(AttentionRandomTest, ListsFollowThePlanAndTheHeads) {
  std::mt19937 random(3);
  RandomPlan r = random_plan(random, 1, {.roots = 2, .depth = 2, .children = 3, .longest = 140});
  const int64_t d = 16;
  for (const int64_t kv_heads : {1, 2, 1}) {
    AttentionPlan copy = r.plan;
    copy.ranges[0].count -= copy.ranges[0].count > 1 && copy.spans[0].num_ranges > 1;
    for (const AttentionPlan* plan : {&std::as_const(r.plan), &std::as_const(copy), &std::as_const(r.plan)}) {
      Operand q = operand({r.q_rows, 2, d}, normal(r.q_rows * 2 * d)),
              k = operand({r.kv_rows, kv_heads, d}, normal(r.kv_rows * kv_heads * d)),
              v = operand({r.kv_rows, kv_heads, d}, normal(r.kv_rows * kv_heads * d)),
              out = operand({r.q_rows, 2, d}, Values(size_t(r.q_rows * 2 * d), NAN));
      attention(ctx, {q.view(), k.view(), v.view()}, *plan, 0.25f, {out.view()});
      const AttentionBounds bound =
          attention_bounds({q.values(), k.values(), v.values(), {}, *plan, 2, kv_heads, d, 0.25},
                           attention_rounding(ctx.device, dtype(), d, r.kv_rows));
      expect_within("out", out,
                    reference::attention(q.values(), k.values(), v.values(), *plan, 2, kv_heads, d, 0.25).out,
                    bound.out);
    }
  }
}

}  // namespace
}  // namespace vpref
