// SPDX-License-Identifier: Apache-2.0
#include "ops/swiglu.h"

#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using SwigluTest = OpTest;
VPREF_OP_TEST(SwigluTest);

TEST_P(SwigluTest, ForwardAndBackwardWorkInPlace) {
  for (const auto& [t, f] : {std::pair<int64_t, int64_t>{1, 1}, {3, 37}, {9, 2500}}) {
    Values wide = normal(t * f, 4);
    if (f > 30) wide[0] = -200, wide[1] = 200, wide[2] = 0;
    Operand gate = operand({t, f}, wide, 5), up = operand({t, f}, normal(t * f), 1),
            y = operand({t, f}, Values(size_t(t * f)), 2);
    const Values expected = reference::swiglu(gate.values(), up.values());
    swiglu(ctx, gate.view(), up.view(), y.view());
    expect_close("y", y, expected, 1, 1.0);
    Operand dy = operand({t, f}, normal(t * f));
    const auto g = reference::swiglu_backward(dy.values(), gate.values(), up.values());
    Operand gate2 = operand({t, f}, wide, 5), up2 = operand({t, f}, up.values(), 1);
    swiglu_backward(ctx, dy.view(), gate2.view(), up2.view(), gate2.view(), up2.view());
    expect_close("dgate", gate2, g.dgate, 4);
    expect_close("dup", up2, g.dup, 1, 1.0);
    swiglu(ctx, gate.view(), up.view(), gate.view());
    expect_close("y in gate", gate, expected, 1, 1.0);
  }
}

TEST_P(SwigluTest, ReferenceGradientEqualsFiniteDifferences) {
  const Values gate = normal(9), up = normal(9), dy = normal(9);
  const auto g = reference::swiglu_backward(dy, gate, up);
  expect_same("dgate", g.dgate,
              finite_differences(gate, [&](const Values& v) { return inner(dy, reference::swiglu(v, up)); }));
  expect_same("dup", g.dup,
              finite_differences(up, [&](const Values& v) { return inner(dy, reference::swiglu(gate, v)); }));
}

}  // namespace
}  // namespace vpref
