// SPDX-License-Identifier: Apache-2.0
#include "ops/rope.h"

#include "core/error.h"
#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using RopeTest = OpTest;
VPREF_OP_TEST(RopeTest);

constexpr int64_t kRows = 8;

// Axes in circulation: plain; one row that is named; a vision tower's two, side by side; M-RoPE's three, in blocks and
// interleaved.
std::vector<std::vector<int32_t>> axes_of(int64_t half) {
  std::vector<std::vector<int32_t>> all(5);
  for (int64_t i = 0; i < half; ++i) {
    all[1].push_back(0);
    all[2].push_back(i < half / 2 ? 0 : 1);
    all[3].push_back(int32_t(3 * i / half));
    all[4].push_back(int32_t(i % 3));
  }
  return all;
}

// [P,T], the rows different.
std::vector<int32_t> positions_for(const std::vector<int32_t>& axis) {
  const std::vector<int32_t> first = {0, 1, 2, 630, 631, 630, 4095, 100000};
  std::vector<int32_t> all = first;
  const int32_t num_axes = axis.empty() ? 1 : *std::max_element(axis.begin(), axis.end()) + 1;
  for (int32_t a = 1; a < num_axes; ++a)
    for (int32_t p : first) all.push_back(p / (a + 1) + 7 * a);
  return all;
}

TEST_P(RopeTest, RotatesAndItsInverseRotatesBack) {
  for (const auto& [heads, d] : {std::pair<int64_t, int64_t>{1, 2}, {3, 10}, {4, 128}}) {
    for (const std::vector<int32_t>& axis : axes_of(d / 2)) {
      reference::Rotation turn{positions_for(axis), {}, axis};
      for (int64_t i = 0; i < d / 2; ++i) turn.inv_freq.push_back(std::pow(10000.0, -double(2 * i) / double(d)));
      Operand x = operand({kRows, heads, d}, normal(kRows * heads * d), d),
              f = operand(DType::f32, {d / 2}, turn.inv_freq);
      turn.inv_freq = f.values();
      const int64_t num_axes = int64_t(turn.positions.size()) / kRows;
      const Rotation rotation{index(turn.positions).reshaped({num_axes, kRows}), f.view(),
                              axis.empty() ? Tensor() : index(axis)};
      const Values before = x.values(), expected = reference::rope(before, turn, heads, d, false);
      rope(ctx, x.view(), rotation);
      expect_close("x", x, expected);
      const Values rotated = x.read();
      rope(ctx, x.view(), rotation, /*inverse=*/true);
      expect_close("x rotated back", x, reference::rope(rotated, turn, heads, d, true));
      expect_same("x as it was", x.read(), before, 8 * unit_roundoff(GetParam().dtype));
    }
  }
}

// Where all axes hold the same positions (text) the bytes are those of one axis.
TEST_P(RopeTest, EqualPositionsOnEveryAxisAreOnePosition) {
  const int64_t heads = 2, d = 32;
  Values frequencies;
  for (int64_t i = 0; i < d / 2; ++i) frequencies.push_back(std::pow(10000.0, -double(2 * i) / double(d)));
  const Values values = normal(kRows * heads * d);
  const std::vector<int32_t> one = positions_for({});
  std::vector<int32_t> three;
  for (int a = 0; a < 3; ++a) three.insert(three.end(), one.begin(), one.end());
  Operand x = operand({kRows, heads, d}, values), y = operand({kRows, heads, d}, values),
          f = operand(DType::f32, {d / 2}, frequencies);
  rope(ctx, x.view(), {index(one, /*as_row=*/true), f.view(), {}});
  rope(ctx, y.view(), {index(three).reshaped({3, kRows}), f.view(), index(axes_of(d / 2)[4])});
  EXPECT_EQ(x.read(), y.read());
}

TEST_P(RopeTest, RefusesAxesThatPositionsLack) {
  Operand x = operand({2, 1, 4}, normal(8)), f = operand(DType::f32, {2}, {1, 0.1});
  const Tensor positions = index({0, 1, 0, 1}).reshaped({2, 2});
  EXPECT_THROW(rope(ctx, x.view(), {positions, f.view(), {}}), Error);
  EXPECT_THROW(rope(ctx, x.view(), {positions, f.view(), index({0})}), Error);
  if (GetParam().device == Device::cpu) {
    EXPECT_THROW(rope(ctx, x.view(), {positions, f.view(), index({0, 2})}), Error);
  }
}

TEST_P(RopeTest, KeysAndValuesGoToTheirCacheRows) {
  const std::vector<int32_t> positions = {0, 3, 630, 4095, 0, 3, 7, 9, 0, 3, 8, 2}, rows = {2, 0, -1, 5};
  const int64_t t = 4, d = 16, cache_rows = 6;
  for (const auto& [heads, kv_heads] : {std::pair<int64_t, int64_t>{4, 4}, {4, 2}, {0, 3}}) {
    const int64_t all = heads + 2 * kv_heads;
    Values frequencies;
    for (int64_t i = 0; i < d / 2; ++i) frequencies.push_back(std::pow(10000.0, -double(2 * i) / double(d)));
    Operand qkv = operand({t, all, d}, normal(t * all * d), d), f = operand(DType::f32, {d / 2}, frequencies);
    const Values before = normal(cache_rows * kv_heads * d);
    Operand keys = operand({cache_rows, kv_heads, d}, before, 8), values = operand({cache_rows, kv_heads, d}, before);
    const std::vector<int32_t> axis = axes_of(d / 2)[4];
    const Values rotated = reference::rope(qkv.values(), {positions, f.values(), axis}, all, d, false);
    Values queries(size_t(t * heads * d)), expected_keys = keys.values(), expected_values = values.values();
    const auto place = [&](const Values& from, int64_t row, int64_t head, int64_t count, Values& to, int64_t to_row) {
      std::copy_n(from.begin() + (row * all + head) * d, count * d, to.begin() + to_row * count * d);
    };
    for (int64_t i = 0; i < t; ++i) {
      place(rotated, i, 0, heads, queries, i);
      if (rows[size_t(i)] < 0) continue;
      place(rotated, i, heads, kv_heads, expected_keys, rows[size_t(i)]);
      place(qkv.values(), i, heads + kv_heads, kv_heads, expected_values, rows[size_t(i)]);
    }
    rope_to_cache(ctx, qkv.view(), {index(positions).reshaped({3, t}), f.view(), index(axis)}, index(rows), keys.view(),
                  values.view());
    expect_close("keys", keys, expected_keys);
    EXPECT_EQ(values.read(), expected_values);
    if (heads == 0) continue;
    const Values after = qkv.read();
    Values kept;
    for (int64_t i = 0; i < t; ++i)
      kept.insert(kept.end(), after.begin() + i * all * d, after.begin() + (i * all + heads) * d);
    Operand expected = operand({t, heads, d}, queries);
    expect_same("queries", kept, expected.values(), 4 * unit_roundoff(GetParam().dtype));
  }
}

}  // namespace
}  // namespace vpref
