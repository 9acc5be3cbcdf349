// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.h"

#include <algorithm>

#include "ops/attention_bounds.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using AttentionTest = OpTest;
VPREF_OP_TEST(AttentionTest);

struct Case {
  const char* name;
  AttentionPlan plan;
  int64_t q_rows, kv_rows, heads, kv_heads, d;
};

void add_span(AttentionPlan& plan, int32_t begin, int32_t count, std::vector<KvRange> ranges, bool causal) {
  plan.spans.push_back({begin, count, int32_t(plan.ranges.size()), int32_t(ranges.size()), causal});
  plan.ranges.insert(plan.ranges.end(), ranges.begin(), ranges.end());
}

std::vector<Case> cases() {
  std::vector<Case> all;
  {
    Case c{"one row", {}, 1, 1, 2, 2, 8};
    add_span(c.plan, 0, 1, {{0, 1}}, true);
    all.push_back(c);
  }
  {
    Case c{"causal, several tiles", {}, 230, 230, 2, 1, 32};
    add_span(c.plan, 0, 230, {{0, 230}}, true);
    all.push_back(c);
  }
  {
    Case c{"vision tower, two images", {}, 150, 150, 2, 2, 20};
    add_span(c.plan, 0, 70, {{0, 70}}, false);
    add_span(c.plan, 70, 80, {{70, 80}}, false);
    all.push_back(c);
  }
  {
    // prompt, 4 branches, and two more below the second: three levels
    Case c{"tree", {}, 130 + 4 * 17 + 2 * 9, 130 + 4 * 17 + 2 * 9, 4, 2, 64};
    add_span(c.plan, 0, 130, {{0, 130}}, true);
    for (int32_t b = 0; b < 4; ++b) add_span(c.plan, 130 + 17 * b, 17, {{0, 130}, {130 + 17 * b, 17}}, true);
    for (int32_t b = 0; b < 2; ++b) add_span(c.plan, 198 + 9 * b, 9, {{0, 130}, {147, 17}, {198 + 9 * b, 9}}, true);
    all.push_back(c);
  }
  {
    // new rows after cached ones, which are elsewhere in a larger cache
    Case c{"continued prefill and decode", {}, 25 + 3, 900, 8, 2, 40};
    add_span(c.plan, 0, 25, {{500, 300}, {100, 60}}, true);
    add_span(c.plan, 25, 1, {{500, 300}, {200, 13}}, true);
    add_span(c.plan, 26, 1, {{500, 300}, {220, 1}}, true);
    add_span(c.plan, 27, 1, {{0, 450}}, true);
    all.push_back(c);
  }
  {
    Case c{"decode of many branches", {}, 6, 700, 3, 3, 128};
    for (int32_t b = 0; b < 6; ++b) add_span(c.plan, b, 1, {{0, 600}, {600 + 10 * b, 10}}, true);
    all.push_back(c);
  }
  return all;
}

TEST_P(AttentionTest, ForwardOverTreesEqualsTheReference) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const int64_t gap = c.d * 2;
    Operand q = operand({c.q_rows, c.heads, c.d}, normal(c.q_rows * c.heads * c.d, 1.5), gap);
    Operand k = operand({c.kv_rows, c.kv_heads, c.d}, normal(c.kv_rows * c.kv_heads * c.d, 1.5), gap);
    Operand v = operand({c.kv_rows, c.kv_heads, c.d}, normal(c.kv_rows * c.kv_heads * c.d), gap);
    Operand out = operand({c.q_rows, c.heads, c.d}, Values(q.values().size(), NAN), gap);
    Operand lse = operand(DType::f32, {c.q_rows, c.heads}, Values(size_t(c.q_rows * c.heads), NAN));
    const float scale = 1.0f / std::sqrt(float(c.d));
    const auto expected =
        reference::attention(q.values(), k.values(), v.values(), c.plan, c.heads, c.kv_heads, c.d, double(scale));
    attention(ctx, {q.view(), k.view(), v.view()}, c.plan, scale, {out.view(), lse.view()});
    const AttentionBounds bound =
        attention_bounds({q.values(), k.values(), v.values(), {}, c.plan, c.heads, c.kv_heads, c.d, double(scale)},
                         attention_rounding(ctx.device, dtype(), c.d, c.kv_rows));
    expect_within("out", out, expected.out, bound.out);
    expect_within("lse", lse, expected.lse, bound.lse);
    const Values first = out.read();
    attention(ctx, {q.view(), k.view(), v.view()}, c.plan, scale, {out.view()});
    EXPECT_EQ(out.read(), first) << "two runs differ";
  }
}

TEST_P(AttentionTest, DecodingStepsHaveAnotherOrderOfSums) {
  for (Case c : cases()) {
    SCOPED_TRACE(c.name);
    c.plan.is_decode = true;
    Operand q = operand({c.q_rows, c.heads, c.d}, normal(c.q_rows * c.heads * c.d, 1.5)),
            k = operand({c.kv_rows, c.kv_heads, c.d}, normal(c.kv_rows * c.kv_heads * c.d, 1.5), c.d);
    Operand v = operand({c.kv_rows, c.kv_heads, c.d}, normal(c.kv_rows * c.kv_heads * c.d), c.d),
            out = operand({c.q_rows, c.heads, c.d}, Values(q.values().size(), NAN));
    const double scale = 1.0 / std::sqrt(double(c.d));
    attention(ctx, {q.view(), k.view(), v.view()}, c.plan, float(scale), {out.view()});
    const AttentionBounds bound =
        attention_bounds({q.values(), k.values(), v.values(), {}, c.plan, c.heads, c.kv_heads, c.d, scale},
                         attention_rounding(ctx.device, dtype(), c.d, c.kv_rows));
    expect_within("out", out,
                  reference::attention(q.values(), k.values(), v.values(), c.plan, c.heads, c.kv_heads, c.d, scale).out,
                  bound.out);
  }
}

// For any history of the earlier rows, and any place of their keys: in one range or in several, in order or not, with
// other spans or alone.
TEST_P(AttentionTest, ARowsBytesDoNotDependOnThePlaceOfItsKeys) {
  if (ctx.device != Device::cpu) GTEST_SKIP() << "CPU only";
  const int64_t length = 330, room = 3 * length, heads = 4, kv_heads = 2, d = 40;
  const Values q_values = normal(length * heads * d, 1.5), k_values = normal(length * kv_heads * d, 1.5),
               v_values = normal(length * kv_heads * d);
  // Row r of the sequence is in row `place(r)` of a cache; rows between belong to others.
  const auto run = [&](const std::vector<int32_t>& starts, const std::vector<int32_t>& places,
                       const std::vector<KvRange>& queries, bool is_decode) {
    Values k_all = normal(room * kv_heads * d), v_all = normal(room * kv_heads * d);
    const auto place = [&](int64_t r) {
      const size_t piece = size_t(std::upper_bound(starts.begin(), starts.end(), int32_t(r)) - starts.begin()) - 1;
      return places[piece] + r - starts[piece];
    };
    for (int64_t r = 0; r < length; ++r) {
      std::copy_n(k_values.begin() + r * kv_heads * d, kv_heads * d, k_all.begin() + place(r) * kv_heads * d);
      std::copy_n(v_values.begin() + r * kv_heads * d, kv_heads * d, v_all.begin() + place(r) * kv_heads * d);
    }
    AttentionPlan plan;
    plan.is_decode = is_decode;
    Values some;
    for (const KvRange& rows : queries) {
      std::vector<KvRange> ranges;
      const int32_t end = rows.begin + rows.count;
      for (size_t i = 0; i < starts.size() && starts[i] < end; ++i)
        ranges.push_back(
            {places[i], std::min(end, i + 1 < starts.size() ? starts[i + 1] : int32_t(length)) - starts[i]});
      if (ranges.back().count < rows.count) return Values();  // a causal span's rows are all in its last range
      add_span(plan, int32_t(some.size()) / int32_t(heads * d), rows.count, ranges, true);
      some.insert(some.end(), q_values.begin() + rows.begin * heads * d, q_values.begin() + end * heads * d);
    }
    const int64_t count = int64_t(some.size()) / (heads * d);
    Operand q = operand({count, heads, d}, some), k = operand({room, kv_heads, d}, k_all),
            v = operand({room, kv_heads, d}, v_all), out = operand({count, heads, d}, Values(some.size()));
    attention(ctx, {q.view(), k.view(), v.view()}, plan, 0.15f, {out.view()});
    const Values got = out.read();
    Values all(size_t(length * heads * d));
    auto from = got.begin();
    for (const KvRange& rows : queries) {
      std::copy_n(from, rows.count * heads * d, all.begin() + rows.begin * heads * d);
      from += rows.count * heads * d;
    }
    return all;
  };
  const auto expect_rows = [&](const Values& got, const Values& whole, const std::vector<KvRange>& queries) {
    ASSERT_FALSE(got.empty());
    for (const KvRange& rows : queries)
      for (int64_t i = rows.begin * heads * d; i < (rows.begin + rows.count) * heads * d; ++i)
        ASSERT_EQ(got[size_t(i)], whole[size_t(i)]) << "row " << i / (heads * d);
  };
  const int32_t all = int32_t(length);
  const Values whole = run({0}, {0}, {{0, all}}, false);
  for (int32_t cut : {2, 50, 95, 96, 97, 200, 329}) {
    SCOPED_TRACE(cut);
    const std::vector<KvRange> after = {{cut, all - cut}}, pieces = {{0, cut}, {cut, all - cut}};
    expect_rows(run({0}, {17}, pieces, false), whole, pieces);
    expect_rows(run({0, cut}, {400, 30}, after, false), whole, after);
    expect_rows(run({0, (cut + 1) / 2, cut}, {700, 5, 350}, after, false), whole, after);
    expect_rows(run({0, cut}, {400, 30}, {{all - 1, 1}}, false), whole, {{all - 1, 1}});
  }
  std::vector<KvRange> ones;
  for (int32_t r = 0; r < all; r += 13) ones.push_back({r, 1});
  const Values steps = run({0}, {0}, ones, true);
  for (const KvRange& one : ones) expect_rows(run({0}, {3}, {one}, true), steps, {one});
  for (int32_t cut : {2, 95, 97, 200})
    expect_rows(run({0, (cut + 1) / 2, cut}, {700, 5, 350}, {{299, 1}, {325, 1}}, true), steps, {{299, 1}, {325, 1}});
}

TEST_P(AttentionTest, BackwardOverTreesEqualsTheReference) {
  for (const Case& c : cases())
    for (int threads : {1, 3}) {
      if (c.kv_rows > 800 || (ctx.device != Device::cpu && threads > 1)) continue;
      SCOPED_TRACE(::testing::Message() << c.name << " on " << threads << " threads");
      ctx.num_threads = threads;
      const float scale = 1.0f / std::sqrt(float(c.d));
      Operand q = operand({c.q_rows, c.heads, c.d}, normal(c.q_rows * c.heads * c.d), c.d);
      Operand k = operand({c.kv_rows, c.kv_heads, c.d}, normal(c.kv_rows * c.kv_heads * c.d), c.d);
      Operand v = operand({c.kv_rows, c.kv_heads, c.d}, normal(c.kv_rows * c.kv_heads * c.d));
      const auto forward =
          reference::attention(q.values(), k.values(), v.values(), c.plan, c.heads, c.kv_heads, c.d, double(scale));
      Operand out = operand({c.q_rows, c.heads, c.d}, forward.out),
              lse = operand(DType::f32, {c.q_rows, c.heads}, forward.lse);
      Operand dout = operand({c.q_rows, c.heads, c.d}, normal(c.q_rows * c.heads * c.d), c.d);
      Operand dq = operand({c.q_rows, c.heads, c.d}, Values(q.values().size(), NAN), c.d);
      Operand dk = operand({c.kv_rows, c.kv_heads, c.d}, Values(k.values().size(), NAN), c.d),
              dv = operand({c.kv_rows, c.kv_heads, c.d}, Values(k.values().size(), NAN));
      const auto g = reference::attention_backward(dout.values(), q.values(), k.values(), v.values(), c.plan, c.heads,
                                                   c.kv_heads, c.d, double(scale));
      attention_backward(ctx, dout.view(), {q.view(), k.view(), v.view()}, {out.view(), lse.view()}, c.plan, scale,
                         {dq.view(), dk.view(), dv.view()});
      const AttentionRounding r = attention_rounding(ctx.device, dtype(), c.d, c.kv_rows);
      const AttentionBounds bound = attention_bounds(
          {q.values(), k.values(), v.values(), dout.values(), c.plan, c.heads, c.kv_heads, c.d, double(scale)}, r);
      expect_within("dq", dq, g.dq, bound.dq, r.storage);
      expect_within("dk", dk, g.dk, bound.dk, r.storage);
      expect_within("dv", dv, g.dv, bound.dv, r.storage);
    }
}

TEST_P(AttentionTest, ReferenceGradientEqualsFiniteDifferences) {
  Case c{"small tree", {}, 7, 7, 2, 1, 3};
  add_span(c.plan, 0, 3, {{0, 3}}, true);
  add_span(c.plan, 3, 2, {{0, 3}, {3, 2}}, true);
  add_span(c.plan, 5, 2, {{0, 3}, {5, 2}}, true);
  const Values q = normal(42), k = normal(21), v = normal(21), dout = normal(42);
  const auto loss = [&](const Values& q1, const Values& k1, const Values& v1) {
    return inner(dout, reference::attention(q1, k1, v1, c.plan, c.heads, c.kv_heads, c.d, 0.6).out);
  };
  const auto g = reference::attention_backward(dout, q, k, v, c.plan, c.heads, c.kv_heads, c.d, 0.6);
  expect_same("dq", g.dq, finite_differences(q, [&](const Values& x) { return loss(x, k, v); }));
  expect_same("dk", g.dk, finite_differences(k, [&](const Values& x) { return loss(q, x, v); }));
  expect_same("dv", g.dv, finite_differences(v, [&](const Values& x) { return loss(q, k, x); }));
}

// A tree must give the results of each branch alone, as prompt and response in one sequence.
TEST_P(AttentionTest, TreeEqualsSeparateSequences) {
  const int64_t prompt = 50, answer = 12, heads = 2, d = 16, rows = prompt + 2 * answer;
  Operand q = operand({rows, heads, d}, normal(rows * heads * d)),
          k = operand({rows, heads, d}, normal(rows * heads * d)),
          v = operand({rows, heads, d}, normal(rows * heads * d));
  Operand out = operand({rows, heads, d}, Values(size_t(rows * heads * d)));
  AttentionPlan tree;
  add_span(tree, 0, int32_t(prompt), {{0, int32_t(prompt)}}, true);
  for (int32_t b = 0; b < 2; ++b)
    add_span(tree, int32_t(prompt + b * answer), int32_t(answer),
             {{0, int32_t(prompt)}, {int32_t(prompt + b * answer), int32_t(answer)}}, true);
  attention(ctx, {q.view(), k.view(), v.view()}, tree, 0.25f, {out.view()});
  for (int64_t b = 0; b < 2; ++b) {
    const auto pick = [&](const Operand& x) {
      Values rows_of(x.values().begin(), x.values().begin() + prompt * heads * d);
      rows_of.insert(rows_of.end(), x.values().begin() + (prompt + b * answer) * heads * d,
                     x.values().begin() + (prompt + (b + 1) * answer) * heads * d);
      return rows_of;
    };
    AttentionPlan line;
    const int32_t length = int32_t(prompt + answer);
    add_span(line, 0, length, {{0, length}}, true);
    Operand alone_q = operand({length, heads, d}, pick(q)), alone_k = operand({length, heads, d}, pick(k)),
            alone_v = operand({length, heads, d}, pick(v));
    Operand alone = operand({length, heads, d}, Values(size_t(length * heads * d)));
    attention(ctx, {alone_q.view(), alone_k.view(), alone_v.view()}, line, 0.25f, {alone.view()});
    const Values whole = out.read(), one = alone.read();
    for (int64_t i = 0; i < answer * heads * d; ++i)
      EXPECT_NEAR(whole[size_t((prompt + b * answer) * heads * d + i)], one[size_t(prompt * heads * d + i)],
                  4 * unit_roundoff(dtype()) * 4);
  }
}

TEST_P(AttentionTest, InvalidPlansAreRefusedByName) {
  Operand q = operand({4, 2, 8}, normal(64)), out = operand({4, 2, 8}, normal(64));
  AttentionPlan missing, outside, twice;
  add_span(missing, 0, 3, {{0, 3}}, true);
  add_span(outside, 0, 4, {{1, 4}}, true);
  add_span(twice, 0, 4, {{0, 4}}, true);
  add_span(twice, 3, 1, {{0, 4}}, true);
  for (const AttentionPlan* plan : {&missing, &outside, &twice})
    EXPECT_THROW(attention(ctx, {q.view(), q.view(), q.view()}, *plan, 1.0f, {out.view()}), Error);
}

}  // namespace
}  // namespace vpref
