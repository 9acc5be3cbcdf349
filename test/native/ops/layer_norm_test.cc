// SPDX-License-Identifier: Apache-2.0
#include "ops/layer_norm.h"

#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using LayerNormTest = OpTest;
VPREF_OP_TEST(LayerNormTest);
constexpr float kEps = 1e-5f;

TEST_P(LayerNormTest, ForwardEqualsTheReference) {
  for (const auto& [t, d] : {std::pair<int64_t, int64_t>{1, 2}, {3, 7}, {40, 1000}, {2, 20000}})
    for (DType weight_dtype : {DType::f32, DType::bf16, DType::f16}) {
      Values shifted = normal(t * d);
      for (double& v : shifted) v += 3;  // a mean far from 0
      Operand x = operand({t, d}, shifted, 3), w = operand(weight_dtype, {d}, normal(d)),
              b = operand(weight_dtype, {d}, normal(d));
      Operand y = operand({t, d}, Values(size_t(t * d)), 1);
      layer_norm(ctx, x.view(), w.view(), b.view(), kEps, y.view(), nullptr);
      expect_close("y", y, reference::layer_norm(x.values(), w.values(), b.values(), t, d, double(kEps)), 16);
    }
}

TEST_P(LayerNormTest, BackwardEqualsTheReference) {
  for (const auto& [t, d, accumulate] :
       {std::tuple<int64_t, int64_t, bool>{6, 130, false}, {6, 130, true}, {2, 20000, true}}) {
    Operand x = operand({t, d}, normal(t * d)), w = operand({d}, normal(d)), b = operand({d}, normal(d)),
            dy = operand({t, d}, normal(t * d));
    Operand y = operand({t, d}, Values(size_t(t * d))), stats = operand(DType::f32, {t, 2}, Values(size_t(t * 2)));
    Operand dx = operand({t, d}, accumulate ? normal(t * d) : Values(size_t(t * d), NAN));
    Operand dw = operand(DType::f32, {d}, normal(d)), db = operand(DType::f32, {d}, normal(d));
    layer_norm(ctx, x.view(), w.view(), b.view(), kEps, y.view(), &stats.view());
    reference::NormGradients g =
        reference::layer_norm_backward(dy.values(), x.values(), w.values(), t, d, double(kEps));
    for (size_t i = 0; i < g.dx.size(); ++i) g.dx[i] += accumulate ? dx.values()[i] : 0;
    for (size_t i = 0; i < g.dweight.size(); ++i) g.dweight[i] += dw.values()[i], g.dbias[i] += db.values()[i];
    layer_norm_backward(ctx, dy.view(), {x.view(), w.view(), stats.view()}, dx.view(), accumulate, &dw.view(),
                        &db.view());
    expect_close("dx", dx, g.dx, 4);
    expect_close("dweight", dw, g.dweight, double(t));
    expect_close("dbias", db, g.dbias, double(t));
  }
}

TEST_P(LayerNormTest, ReferenceGradientEqualsFiniteDifferences) {
  const int64_t t = 2, d = 5;
  const Values x = normal(t * d), w = normal(d), b = normal(d), dy = normal(t * d);
  const reference::NormGradients g = reference::layer_norm_backward(dy, x, w, t, d, 1e-5);
  expect_same("dx", g.dx, finite_differences(x, [&](const Values& v) {
                return inner(dy, reference::layer_norm(v, w, b, t, d, 1e-5));
              }));
  expect_same("dweight", g.dweight, finite_differences(w, [&](const Values& v) {
                return inner(dy, reference::layer_norm(x, v, b, t, d, 1e-5));
              }));
  expect_same("dbias", g.dbias, finite_differences(b, [&](const Values& v) {
                return inner(dy, reference::layer_norm(x, w, v, t, d, 1e-5));
              }));
}

}  // namespace
}  // namespace vpref
