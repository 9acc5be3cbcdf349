// SPDX-License-Identifier: Apache-2.0
#include "ops/adamw.h"

#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using AdamwTest = OpTest;
VPREF_OP_TEST(AdamwTest);

TEST_P(AdamwTest, StepsEqualTheFloat64Reference) {
  const int64_t n = 40001;
  Operand param = operand(DType::f32, {n}, normal(n)), m = operand(DType::f32, {n}, Values(size_t(n))),
          v = operand(DType::f32, {n}, Values(size_t(n)));
  Operand copy = operand(DType::bf16, {n}, Values(size_t(n)));
  reference::AdamState state{param.values(), m.values(), v.values()};
  for (int64_t step = 1; step <= 5; ++step) {
    Operand grad = operand(DType::f32, {n}, normal(n, 0.1));
    const AdamW options{.lr = 1e-3, .weight_decay = 0.1, .step = step, .grad_scale = 0.5f};
    adamw(ctx, options, param.view(), grad.view(), m.view(), v.view(), &copy.view());
    reference::adamw(options, state, grad.values());
  }
  expect_close("param", param, state.param);
  expect_close("m", m, state.m);
  expect_close("v", v, state.v);
  const Operand rounded = operand(DType::bf16, {n}, param.read());
  EXPECT_EQ(copy.read(), rounded.values());
}

TEST_P(AdamwTest, SumOfSquaresIsTheSameOnAnyThreads) {
  const int64_t n = 200001;
  Operand x = operand(DType::f32, {n}, normal(n, 1e3));
  const double expected = inner(x.values(), x.values());
  ctx.num_threads = 1;
  const double one = sum_of_squares(ctx, x.view());
  ctx.num_threads = 2;
  EXPECT_EQ(one, sum_of_squares(ctx, x.view()));
  EXPECT_NEAR(one, expected, 1e-12 * expected);
  Values broken = x.values();
  broken[123456] = INFINITY;
  Operand bad = operand(DType::f32, {n}, broken);
  EXPECT_FALSE(std::isfinite(sum_of_squares(ctx, bad.view())));
}

}  // namespace
}  // namespace vpref
