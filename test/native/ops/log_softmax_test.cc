// SPDX-License-Identifier: Apache-2.0
#include "ops/log_softmax.h"

#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using LogSoftmaxTest = OpTest;
VPREF_OP_TEST(LogSoftmaxTest);

TEST_P(LogSoftmaxTest, GathersLogProbabilitiesAndWritesTheGradient) {
  for (const int64_t v : {1, 5, 4097, 9000}) {
    const int64_t r = 4;
    Values wide = normal(r * v, 3);
    for (int64_t i = 0; i < v; ++i)
      wide[size_t(v + i)] += 80, wide[size_t(2 * v + i)] -= 300;  // no overflow, no underflow of the row
    const std::vector<int32_t> target = {0, int32_t(v - 1), int32_t(v / 2), 0};
    Operand logits = operand({r, v}, wide, 3), logp = operand(DType::f32, {r}, Values(size_t(r)));
    const Values all = reference::log_softmax(logits.values(), r, v);
    Values expected, gradient;
    for (int64_t i = 0; i < r; ++i) expected.push_back(all[size_t(i * v + target[size_t(i)])]);
    for (size_t i = 0; i < all.size(); ++i)
      gradient.push_back((int64_t(i) % v == target[i / size_t(v)] ? 1.0 : 0.0) - std::exp(all[i]));
    log_softmax_gather(ctx, logits.view(), index(target), logp.view());
    expect_close("logp", logp, expected);
    EXPECT_EQ(logits.read(), logits.values()) << "logits were changed";
    log_softmax_gather(ctx, logits.view(), index(target), logp.view(), /*to_gradient=*/true);
    expect_close("logp again", logp, expected);
    expect_close("gradient", logits, gradient, 1, 1.0);
  }
}

TEST_P(LogSoftmaxTest, NanStaysNan) {
  Operand logits = operand({1, 40}, Values(40, 1.0)), logp = operand(DType::f32, {1}, {0});
  Values broken(40, 1.0);
  broken[17] = NAN;
  Operand bad = operand({1, 40}, broken);
  log_softmax_gather(ctx, bad.view(), index({3}), logp.view());
  EXPECT_TRUE(std::isnan(logp.read()[0]));
}

}  // namespace
}  // namespace vpref
