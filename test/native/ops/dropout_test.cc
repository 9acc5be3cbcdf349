// SPDX-License-Identifier: Apache-2.0
#include "ops/dropout.h"

#include <algorithm>

#include "core/philox.h"
#include "ops/variant.h"

namespace vpref {
namespace {

using DropoutTest = OpTest;
VPREF_OP_TEST(DropoutTest);

constexpr uint64_t kSeed = 0x123456789abcdefull;

// The factor at (t, k).
double factor(const std::vector<int32_t>& rows, int64_t t, int64_t k, const DropoutMask& mask) {
  const auto words = philox4x32(
      mask.seed, {uint32_t(k / 4), mask.place, uint32_t(rows[size_t(2 * t)]), uint32_t(rows[size_t(2 * t + 1)])});
  return double(words[size_t(k % 4)]) < double(mask.p) * 0x1p32 ? 0 : 1 / (1 - double(mask.p));
}

TEST_P(DropoutTest, MaskAndScaleFollowTheCounter) {
  for (const auto& [t, d] : {std::pair<int64_t, int64_t>{1, 1}, {3, 2501}, {17, 70}}) {
    std::vector<int32_t> rows;
    for (int64_t i = 0; i < 2 * t; ++i) rows.push_back(int32_t(i * 1234567 - 40));
    const Tensor words = index(rows).reshaped({t, 2});
    for (const bool accumulate : {false, true}) {
      const DropoutMask mask{0.3f, kSeed, 5};
      Operand x = operand({t, d}, normal(t * d), 3), y = operand({t, d}, normal(t * d), 1);
      Values expected = y.values();
      for (int64_t i = 0; i < t * d; ++i)
        expected[size_t(i)] =
            (accumulate ? expected[size_t(i)] : 0) + factor(rows, i / d, i % d, mask) * x.values()[size_t(i)];
      dropout(ctx, x.view(), words, mask, y.view(), accumulate);
      expect_close("y", y, expected);
      EXPECT_TRUE(y.gaps_untouched());
    }
  }
}

TEST_P(DropoutTest, DropsTheGivenShareAndAnotherPlaceHasAnotherMask) {
  const int64_t t = 64, d = 512;
  std::vector<int32_t> rows;
  for (int64_t i = 0; i < t; ++i) rows.insert(rows.end(), {int32_t(i), 7});
  const Tensor words = index(rows).reshaped({t, 2});
  Operand x = operand({t, d}, Values(size_t(t * d), 1)), a = operand({t, d}, Values(size_t(t * d))),
          b = operand({t, d}, Values(size_t(t * d)));
  for (const float p : {0.0f, 0.05f, 0.5f}) {
    dropout(ctx, x.view(), words, {p, kSeed, 0}, a.view());
    dropout(ctx, x.view(), words, {p, kSeed, 1}, b.view());
    const Values one = a.read(), other = b.read();
    const double n = double(t * d), dropped = double(std::count(one.begin(), one.end(), 0.0));
    EXPECT_NEAR(dropped / n, p, 4 * std::sqrt(double(p) / n));
    double both = 0;
    for (size_t i = 0; i < one.size(); ++i) both += one[i] == 0 && other[i] == 0;
    EXPECT_NEAR(both / n, double(p) * double(p), 4 * double(p) / std::sqrt(n));
  }
}

}  // namespace
}  // namespace vpref
