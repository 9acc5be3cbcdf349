// SPDX-License-Identifier: Apache-2.0
// Covers native/ops/linear_stack.cc native/backend/cpu/row_products.cc native/backend/cpu/panel_products.cc
#include "ops/linear_stack.h"

#include <cstring>

#include "core/error.h"
#include "ops/gemm.h"
#include "ops/packed_linear.h"
#include "ops/packed_operand.h"
#include "ops/variant.h"

namespace vpref {
namespace {

using LinearStackTest = OpTest;
VPREF_OP_TEST(LinearStackTest);

// Base weights of several widths and forms, as a decoder's, and narrow ones, as an adapter's.
TEST_P(LinearStackTest, EveryPartHasTheBytesThatItHasAlone) {
  for (const int64_t k : {64, 129, 1088}) {
    Operand f32 = operand(DType::f32, {150, k}, normal(150 * k)), bf16 = operand(DType::bf16, {37, k}, normal(37 * k));
    Operand f16 = operand(DType::f16, {64, k}, normal(64 * k)), narrow = operand(DType::f32, {5, k}, normal(5 * k));
    Packed nf4 = packed(ctx, Packing::nf4, {70, k}, normal(70 * k));
    Packed int8 = packed(ctx, Packing::int8, {33, k}, normal(33 * k));
    Operand half_bias = operand(DType::f16, {150}, normal(150)), bias = operand(DType::f32, {70}, normal(70));
    for (const int64_t t : {1, 4, 16, 24, 25, 70, 600}) {
      if (ctx.device != Device::cpu && t > kPackedSkinnyRows) continue;
      Operand x = operand({t, k}, normal(t * k), 8);
      const int64_t widths[] = {150, 37, 70, 64, 33, 5};
      Operand together = operand({t, 359}, Values(size_t(t * 359), NAN), 3);
      Operand alone = operand({t, 359}, Values(size_t(t * 359), NAN), 3);
      const auto parts = [&](const Tensor& y) {
        std::vector<LinearPart> all{
            {&f32.view(), nullptr, &half_bias.view(), {}}, {&bf16.view(), nullptr, nullptr, {}},
            {nullptr, &nf4.weight, &bias.view(), {}},      {&f16.view(), nullptr, nullptr, {}},
            {nullptr, &int8.weight, nullptr, {}},          {&narrow.view(), nullptr, nullptr, {}}};
        int64_t column = 0;
        for (size_t i = 0; i < all.size(); column += widths[i++]) all[i].y = y.cols(column, widths[i]);
        return all;
      };
      linear_stack(ctx, x.view(), parts(together.view()));
      for (const LinearPart& p : parts(alone.view()))
        p.packed ? packed_linear(ctx, x.view(), *p.packed, p.bias, p.y) : linear(ctx, x.view(), *p.weight, p.bias, p.y);
      const Values y = together.read();
      for (const double value : y) ASSERT_TRUE(std::isfinite(value)) << t << " " << k;
      EXPECT_EQ(y, alone.read()) << t << " " << k;
      EXPECT_TRUE(together.gaps_untouched());
    }
  }
}

TEST_P(LinearStackTest, OutputsOfAnotherDtypeThanXAreRounded) {
  if (ctx.device != Device::cpu) GTEST_SKIP() << "CPU only";
  const int64_t t = 40, k = 96;
  Operand x = operand({t, k}, normal(t * k)), a = operand(DType::f32, {20, k}, normal(20 * k));
  Operand f32 = operand(DType::f32, {t, 20}, Values(size_t(t * 20), NAN));
  Operand bf16 = operand(DType::bf16, {t, 20}, Values(size_t(t * 20), NAN));
  const LinearPart parts[] = {{&a.view(), nullptr, nullptr, f32.view()}, {&a.view(), nullptr, nullptr, bf16.view()}};
  linear_stack(ctx, x.view(), parts);
  const Values wide = f32.read();
  EXPECT_EQ(bf16.read(), operand(DType::bf16, {t, 20}, wide).values());
}

TEST_P(LinearStackTest, AnyPartThatDoesNotFitIsRefused) {
  Operand x = operand({3, 8}, normal(24)), w = operand({4, 8}, normal(32)), narrow = operand({4, 7}, normal(28));
  Operand y = operand({3, 4}, Values(12, 0.5)), z = operand({3, 4}, Values(12, 0.5));
  const LinearPart parts[] = {{&w.view(), nullptr, nullptr, y.view()}, {&narrow.view(), nullptr, nullptr, z.view()}};
  try {
    linear_stack(ctx, x.view(), parts);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "shape");
    EXPECT_NE(std::string(error.what()).find("[linear] x: expected [any, 7], got [3, 8]"), std::string::npos)
        << error.what();
  }
  linear_stack(ctx, x.view().rows(0, 0), {});
}

}  // namespace
}  // namespace vpref
