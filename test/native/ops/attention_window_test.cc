// SPDX-License-Identifier: Apache-2.0
// Covers native/backend/cuda/attention_forward.cu, native/backend/cuda/attention_backward.cu,
// native/backend/cuda/attention_plain.cu
// Windows over trees, caches and decode steps against the float64 loops: a query sees the last keys of its path,
// however the path is cut into ranges.
#include <utility>

#include "ops/attention.h"
#include "ops/attention_bounds.h"
#include "ops/attention_plans.h"
#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using AttentionWindowTest = OpTest;
VPREF_OP_TEST(AttentionWindowTest);

struct Shape {
  int64_t heads, kv_heads, d, gap;
};

// On the GPU: tensor cores, plain arithmetic, one head per tile and several.
const Shape kShapes[] = {{2, 2, 64, 0}, {4, 2, 32, 64}, {2, 1, 20, 4}, {7, 1, 24, 48}};
const int32_t kWindows[] = {1, 7, 64, 97, 150, 1000};

TEST_P(AttentionWindowTest, ForwardAndBackwardEqualTheReference) {
  int trial = 0;
  for (const Shape& s : kShapes)
    for (const int32_t window : kWindows)
      for (int kind = 0; kind < 2; ++kind) {
        if (ctx.device == Device::cuda && trial++ % 3 != 0) continue;  // fibers are slow
        std::mt19937 random(unsigned(window) * 10 + unsigned(kind) + unsigned(s.d));
        RandomPlan r = random_plan(
            random, kind, {.roots = 1, .depth = 3, .children = 2, .longest = ctx.device == Device::cuda ? 80 : 130});
        r.plan.window = window;
        SCOPED_TRACE(::testing::Message() << "window " << window << " heads " << s.heads << "/" << s.kv_heads << " d "
                                          << s.d << " kind " << kind << " rows " << r.q_rows << "/" << r.kv_rows);
        const float scale = 1.0f / std::sqrt(float(s.d));
        Operand q = operand({r.q_rows, s.heads, s.d}, normal(r.q_rows * s.heads * s.d), s.gap);
        Operand k = operand({r.kv_rows, s.kv_heads, s.d}, normal(r.kv_rows * s.kv_heads * s.d), s.gap);
        Operand v = operand({r.kv_rows, s.kv_heads, s.d}, normal(r.kv_rows * s.kv_heads * s.d), 2 * s.gap);
        Operand out = operand({r.q_rows, s.heads, s.d}, Values(q.values().size(), NAN), s.gap);
        Operand lse = operand(DType::f32, {r.q_rows, s.heads}, Values(size_t(r.q_rows * s.heads), NAN));
        Operand dout = operand({r.q_rows, s.heads, s.d}, normal(r.q_rows * s.heads * s.d), s.gap);
        const auto expected =
            reference::attention(q.values(), k.values(), v.values(), r.plan, s.heads, s.kv_heads, s.d, double(scale));
        attention(ctx, {q.view(), k.view(), v.view()}, r.plan, scale, {out.view(), lse.view()});
        const AttentionRounding rounding = attention_rounding(ctx.device, dtype(), s.d, std::max(r.q_rows, r.kv_rows));
        const AttentionBounds bound = attention_bounds(
            {q.values(), k.values(), v.values(), dout.values(), r.plan, s.heads, s.kv_heads, s.d, double(scale)},
            rounding);
        expect_within("out", out, expected.out, bound.out);
        expect_within("lse", lse, expected.lse, bound.lse);
        const Values first = out.read();
        attention(ctx, {q.view(), k.view(), v.view()}, r.plan, scale, {out.view()});
        EXPECT_EQ(out.read(), first) << "two runs differ";

        AttentionPlan decode = r.plan;
        decode.is_decode = true;
        attention(ctx, {q.view(), k.view(), v.view()}, decode, scale, {out.view(), lse.view()});
        expect_within("out of decoding", out, expected.out, bound.out);
        expect_within("lse of decoding", lse, expected.lse, bound.lse);

        Operand stored = operand({r.q_rows, s.heads, s.d}, expected.out, s.gap),
                exact = operand(DType::f32, {r.q_rows, s.heads}, expected.lse);
        Operand dq = operand({r.q_rows, s.heads, s.d}, Values(q.values().size(), NAN), s.gap);
        Operand dk = operand({r.kv_rows, s.kv_heads, s.d}, Values(k.values().size(), NAN), s.gap),
                dv = operand({r.kv_rows, s.kv_heads, s.d}, Values(v.values().size(), NAN));
        const auto g = reference::attention_backward(dout.values(), q.values(), k.values(), v.values(), r.plan, s.heads,
                                                     s.kv_heads, s.d, double(scale));
        attention_backward(ctx, dout.view(), {q.view(), k.view(), v.view()}, {stored.view(), exact.view()}, r.plan,
                           scale, {dq.view(), dk.view(), dv.view()});
        expect_within("dq", dq, g.dq, bound.dq, rounding.storage);
        expect_within("dk", dk, g.dk, bound.dk, rounding.storage);
        expect_within("dv", dv, g.dv, bound.dv, rounding.storage);
        if (HasFailure()) return;
      }
}

// A window is counted along the path: two branches that are packed in sequence see the same part of their prompt.
TEST_P(AttentionWindowTest, BranchesSeeTheirOwnPath) {
  const int64_t d = 16, prompt = 5, answer = 4, rows = prompt + 2 * answer;
  Values q_values = normal(rows * d), k_values = normal(rows * d), v_values = normal(rows * d);
  for (Values* x : {&q_values, &k_values, &v_values})  // the second response equals the first
    std::copy_n(x->begin() + prompt * d, answer * d, x->begin() + (prompt + answer) * d);
  Operand q = operand({rows, 1, d}, q_values), k = operand({rows, 1, d}, k_values), v = operand({rows, 1, d}, v_values),
          out = operand({rows, 1, d}, Values(size_t(rows * d), NAN));
  AttentionPlan plan;
  plan.ranges = {{0, 5}, {0, 5}, {5, 4}, {0, 5}, {9, 4}};
  plan.spans = {{0, 5, 0, 1, true}, {5, 4, 1, 2, true}, {9, 4, 3, 2, true}};
  attention(ctx, {q.view(), k.view(), v.view()}, windowed(plan, 3), 0.25f, {out.view()});
  const Values got = out.read();
  for (int64_t i = 0; i < answer * d; ++i)
    EXPECT_NEAR(got[size_t(prompt * d + i)], got[size_t((prompt + answer) * d + i)],
                ctx.device == Device::cpu ? 0 : 16 * unit_roundoff(dtype()))
        << i;
}

// For any number of earlier rows computed with it, and any place of their keys.
TEST_P(AttentionWindowTest, ARowsBytesDoNotDependOnThePlaceOfItsKeys) {
  if (ctx.device != Device::cpu) GTEST_SKIP() << "CPU only";
  const int64_t length = 330, heads = 4, kv_heads = 2, d = 40;
  const Values q_values = normal(length * heads * d), k_values = normal(length * kv_heads * d),
               v_values = normal(length * kv_heads * d);
  for (const int32_t window : {1, 60, 96, 130, 300}) {
    const auto rows_from = [&](int32_t begin, const std::vector<KvRange>& ranges) {
      const int64_t count = length - begin;
      Operand q = operand({count, heads, d}, Values(q_values.begin() + begin * heads * d, q_values.end())),
              k = operand({length, kv_heads, d}, k_values), v = operand({length, kv_heads, d}, v_values),
              out = operand({count, heads, d}, Values(size_t(count * heads * d), NAN));
      AttentionPlan plan;
      plan.ranges = ranges;
      plan.spans = {{0, int32_t(count), 0, int32_t(ranges.size()), true}};
      attention(ctx, {q.view(), k.view(), v.view()}, windowed(plan, window), 0.15f, {out.view()});
      return out.read();
    };
    const Values whole = rows_from(0, {{0, int32_t(length)}});
    for (const int32_t begin : {1, 95, 96, 97, 200, 329}) {
      SCOPED_TRACE(::testing::Message() << "window " << window << " from row " << begin);
      const Values end(whole.begin() + begin * heads * d, whole.end());
      EXPECT_EQ(rows_from(begin, {{0, int32_t(length)}}), end);
      EXPECT_EQ(rows_from(begin, {{0, (begin + 1) / 2}, {(begin + 1) / 2, int32_t(length) - (begin + 1) / 2}}), end);
    }
  }
}

TEST(AttentionWindow, APlanWithoutHiddenKeysIsReturnedUnchanged) {
  AttentionPlan plan;
  plan.ranges = {{0, 5}, {5, 4}};
  plan.spans = {{0, 4, 0, 2, true}};
  EXPECT_EQ(&windowed(plan, 0), &plan);
  EXPECT_EQ(&windowed(plan, 9), &plan);
  const AttentionPlan& eight = windowed(plan, 8);
  EXPECT_NE(&eight, &plan);
  EXPECT_EQ(&windowed(plan, 8), &eight);
  EXPECT_EQ(eight.window, 8);
  EXPECT_EQ(hidden_keys(eight, eight.spans[0], 2), 0);
  EXPECT_EQ(hidden_keys(eight, eight.spans[0], 3), 1);
}

TEST_P(AttentionWindowTest, WindowsOfOtherSpansAreRefused) {
  Operand q = operand({4, 2, 8}, normal(64)), out = operand({4, 2, 8}, normal(64));
  AttentionPlan plan;
  plan.ranges = {{0, 4}};
  plan.spans = {{0, 4, 0, 1, false}};
  plan.window = 2;
  EXPECT_THROW(attention(ctx, {q.view(), q.view(), q.view()}, plan, 1.0f, {out.view()}), Error);
  plan.spans[0].causal = true;
  plan.window = -1;
  EXPECT_THROW(attention(ctx, {q.view(), q.view(), q.view()}, plan, 1.0f, {out.view()}), Error);
}

}  // namespace
}  // namespace vpref
