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

}  // namespace
}  // namespace vpref
