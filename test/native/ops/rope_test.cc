// SPDX-License-Identifier: Apache-2.0
#include "ops/rope.h"

#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using RopeTest = OpTest;
VPREF_OP_TEST(RopeTest);

TEST_P(RopeTest, RotatesAndItsInverseRotatesBack) {
  for (const auto& [heads, d] : {std::pair<int64_t, int64_t>{1, 2}, {3, 10}, {4, 128}}) {
    const std::vector<int32_t> positions = {0, 1, 2, 630, 631, 630, 4095, 100000};
    const int64_t t = int64_t(positions.size());
    Values frequencies;
    for (int64_t i = 0; i < d / 2; ++i) frequencies.push_back(std::pow(10000.0, -double(2 * i) / double(d)));
    Operand x = operand({t, heads, d}, normal(t * heads * d), d), f = operand(DType::f32, {d / 2}, frequencies);
    const Tensor at = index(positions, /*as_row=*/true);
    const Values expected = reference::rope(x.values(), positions, f.values(), heads, d, false);
    rope(ctx, x.view(), at, f.view());
    expect_close("x", x, expected);
    const Values rotated = x.read();
    rope(ctx, x.view(), at, f.view(), /*inverse=*/true);
    expect_close("x rotated back", x, reference::rope(rotated, positions, f.values(), heads, d, true));
  }
}

TEST_P(RopeTest, KeysAndValuesGoToTheirCacheRows) {
  const std::vector<int32_t> positions = {0, 3, 630, 4095}, rows = {2, 0, -1, 5};
  const int64_t t = 4, d = 16, cache_rows = 6;
  for (const auto& [heads, kv_heads] : {std::pair<int64_t, int64_t>{4, 4}, {4, 2}, {0, 3}}) {
    const int64_t all = heads + 2 * kv_heads;
    Values frequencies;
    for (int64_t i = 0; i < d / 2; ++i) frequencies.push_back(std::pow(10000.0, -double(2 * i) / double(d)));
    Operand qkv = operand({t, all, d}, normal(t * all * d), d), f = operand(DType::f32, {d / 2}, frequencies);
    const Values before = normal(cache_rows * kv_heads * d);
    Operand keys = operand({cache_rows, kv_heads, d}, before, 8), values = operand({cache_rows, kv_heads, d}, before);
    const Values rotated = reference::rope(qkv.values(), positions, f.values(), all, d, false);
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
    rope_to_cache(ctx, qkv.view(), index(positions, /*as_row=*/true), f.view(), index(rows), keys.view(),
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
