// SPDX-License-Identifier: Apache-2.0
#include "ops/rows.h"

#include "ops/variant.h"

namespace vpref {
namespace {

using RowsTest = OpTest;
VPREF_OP_TEST(RowsTest);

TEST_P(RowsTest, GatherConvertsAndSkips) {
  const int64_t v = 9, d = 2100;
  const std::vector<int32_t> at = {3, -1, 0, 8, 3};
  for (DType from : {DType::f32, DType::bf16, DType::f16}) {
    Operand x = operand(from, {v, d}, normal(v * d), 1),
            y = operand({int64_t(at.size()), d}, normal(int64_t(at.size()) * d), 2);
    Values expected = y.values();
    for (size_t i = 0; i < at.size(); ++i)
      for (int64_t j = 0; j < d && at[i] >= 0; ++j)
        expected[i * size_t(d) + size_t(j)] = x.values()[size_t(at[i] * d + j)];
    gather_rows(ctx, x.view(), index(at), y.view());
    expect_close("y", y, expected);
  }
}

TEST_P(RowsTest, ScatterPlacesRows) {
  const int64_t v = 9, d = 70;
  const std::vector<int32_t> at = {5, -1, 0, 8};
  Operand x = operand({4, d}, normal(4 * d), 1), y = operand({v, d}, normal(v * d), 2);
  Values expected = y.values();
  for (size_t i = 0; i < at.size(); ++i)
    for (int64_t j = 0; j < d && at[i] >= 0; ++j)
      expected[size_t(at[i] * d + j)] = x.values()[i * size_t(d) + size_t(j)];
  scatter_rows(ctx, x.view(), index(at), y.view());
  expect_close("y", y, expected);
}

TEST_P(RowsTest, ScatterAddsRepeatedRows) {
  const int64_t v = 6, d = 2100;
  const std::vector<int32_t> at = {2, 2, -1, 5, 2, 0};
  const int64_t t = int64_t(at.size());
  Operand x = operand({t, d}, normal(t * d), 1), y = operand(DType::f32, {v, d}, normal(v * d));
  Values expected = y.values();
  for (size_t i = 0; i < at.size(); ++i)
    for (int64_t j = 0; j < d && at[i] >= 0; ++j)
      expected[size_t(at[i] * d + j)] += x.values()[i * size_t(d) + size_t(j)];
  scatter_add_rows(ctx, x.view(), index(at), y.view());
  expect_close("y", y, expected, 4);
}

TEST_P(RowsTest, AnIndexOutsideTheTableIsNamed) {
  if (ctx.device != Device::cpu) GTEST_SKIP() << "the GPU does not read the index back";
  Operand x = operand({3, 4}, normal(12)), y = operand({2, 4}, normal(8));
  for (int32_t wrong : {3, -2}) try {
      gather_rows(ctx, x.view(), index({0, wrong}), y.view());
      FAIL() << "took index " << wrong;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("index[1]"), std::string::npos) << e.what();
    }
}

}  // namespace
}  // namespace vpref
