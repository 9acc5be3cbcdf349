// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise.h"

#include "ops/variant.h"

namespace vpref {
namespace {

using ElementwiseTest = OpTest;
VPREF_OP_TEST(ElementwiseTest);

TEST_P(ElementwiseTest, AddMixesDtypes) {
  for (DType y_dtype : {DType::f32, DType::bf16})
    for (const auto& [t, d] : {std::pair<int64_t, int64_t>{1, 1}, {3, 2500}, {300, 70}}) {
      Operand x = operand({t, d}, normal(t * d), 3), y = operand(y_dtype, {t, d}, normal(t * d), 1);
      Values expected = y.values();
      for (size_t i = 0; i < expected.size(); ++i) expected[i] += -0.5 * x.values()[i];
      add(ctx, x.view(), y.view(), -0.5f);
      expect_close("y", y, expected);
    }
}

TEST_P(ElementwiseTest, ConvertRoundsToNearestEven) {
  for (DType to : {DType::f32, DType::bf16, DType::f16}) {
    Values values = normal(2 * 2500);
    values[0] = 1 + 0x1p-8, values[1] = 1 + 0x3p-8, values[2] = 65520, values[3] = 1e-7, values[4] = -0.0,
    values[5] = 3e-8;
    Operand x = operand({2, 2500}, values, 1), y = operand(to, {2, 2500}, Values(5000), 3);
    convert(ctx, x.view(), y.view());
    const Operand rounded = operand(to, {2, 2500}, x.values());  // by the scalar conversions
    const Values got = y.read();
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], rounded.values()[i]) << i << " of " << dtype_name(to);
  }
}

TEST_P(ElementwiseTest, ScalesRowsAndFills) {
  const int64_t t = 5, d = 2100;
  Operand x = operand({t, d}, normal(t * d), 1), scale = operand(DType::f32, {t}, {0, 1, -2, 0.25, 3});
  Values expected = x.values();
  for (size_t i = 0; i < expected.size(); ++i) expected[i] *= scale.values()[i / size_t(d)];
  scale_rows(ctx, scale.view(), x.view());
  expect_close("x", x, expected);
  Operand y = operand({t, d}, normal(t * d));
  fill(ctx, 0.5f, y.view());
  EXPECT_EQ(y.read(), Values(size_t(t * d), 0.5));
}

}  // namespace
}  // namespace vpref
