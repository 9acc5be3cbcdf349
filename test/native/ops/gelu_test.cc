// SPDX-License-Identifier: Apache-2.0
#include "ops/gelu.h"

#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using GeluTest = OpTest;
VPREF_OP_TEST(GeluTest);

TEST_P(GeluTest, EveryKindEqualsTheReferenceForwardAndBackward) {
  for (Gelu kind : {Gelu::exact, Gelu::quick, Gelu::tanh}) {
    const int64_t t = 4, f = 2501;
    Values wide = normal(t * f, 3);
    wide[0] = -60, wide[1] = 60, wide[2] = 0, wide[3] = -9.5, wide[4] = 1e-6;
    Operand x = operand({t, f}, wide, 3), y = operand({t, f}, Values(size_t(t * f)), 1),
            dy = operand({t, f}, normal(t * f));
    Values expected, slope;
    for (size_t i = 0; i < x.values().size(); ++i) {
      expected.push_back(reference::gelu(kind, x.values()[i]));
      slope.push_back(dy.values()[i] * reference::gelu_slope(kind, x.values()[i]));
    }
    gelu(ctx, kind, x.view(), y.view());
    expect_close("y", y, expected, 1, 1.0);
    gelu_backward(ctx, kind, dy.view(), x.view(), dy.view());
    expect_close("dx", dy, slope, 4, 4.0);
  }
}

TEST_P(GeluTest, ReferenceDerivativeEqualsFiniteDifferences) {
  for (Gelu kind : {Gelu::exact, Gelu::quick, Gelu::tanh})
    for (double x = -5; x <= 5; x += 0.37)
      EXPECT_NEAR(reference::gelu_slope(kind, x),
                  (reference::gelu(kind, x + 1e-5) - reference::gelu(kind, x - 1e-5)) / 2e-5, 1e-8)
          << x;
}

}  // namespace
}  // namespace vpref
