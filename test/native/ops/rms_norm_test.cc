// SPDX-License-Identifier: Apache-2.0
// Covers native/backend/cuda/rms_norm.cu
#include "ops/rms_norm.h"

#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using RmsNormTest = OpTest;
VPREF_OP_TEST(RmsNormTest);
constexpr float kEps = 1e-5f;

TEST_P(RmsNormTest, ForwardAndFusedAdditionEqualTheReference) {
  for (const auto& [t, d] : {std::pair<int64_t, int64_t>{1, 1}, {3, 7}, {5, 64}, {40, 1000}, {2, 20000}})
    for (DType weight_dtype : {DType::f32, DType::bf16, DType::f16}) {
      Operand x = operand({t, d}, normal(t * d), 3), w = operand(weight_dtype, {d}, normal(d)),
              y = operand({t, d}, Values(size_t(t * d)), 1);
      Operand rstd = operand(DType::f32, {t}, Values(static_cast<size_t>(t)));
      rms_norm(ctx, x.view(), w.view(), kEps, y.view(), &rstd.view());
      expect_close("y", y, reference::rms_norm(x.values(), w.values(), t, d, double(kEps)));
      Values r(static_cast<size_t>(t));
      for (int64_t i = 0; i < t; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < d; ++j) sum += x.values()[size_t(i * d + j)] * x.values()[size_t(i * d + j)];
        r[size_t(i)] = 1 / std::sqrt(sum / double(d) + double(kEps));
      }
      expect_close("rstd", rstd, r, d > 1000 ? double(d) : 1);  // a sum of d squares

      Operand delta = operand({t, d}, normal(t * d), 2);
      Values sum = x.values();
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += delta.values()[i];
      Operand apart = operand({t, d}, Values(size_t(t * d), NAN), 5);
      add_rms_norm(ctx, {x.view(), delta.view(), apart.view()}, w.view(), kEps, y.view(), &rstd.view());
      expect_close("sum", apart, sum);
      EXPECT_EQ(x.read(), x.values());
      const Values stored = apart.read(), normed = y.read(), scales = rstd.read();
      expect_close("y of the sum", y, reference::rms_norm(stored, w.values(), t, d, double(kEps)));
      add_rms_norm(ctx, {x.view(), delta.view(), x.view()}, w.view(), kEps, y.view(), &rstd.view());
      EXPECT_EQ(x.read(), stored) << "in place";
      EXPECT_EQ(y.read(), normed);
      EXPECT_EQ(rstd.read(), scales);
    }
}

// A head is normalised as a row is: [T,H,D] equals the rows of the dense [T*H,D].
TEST_P(RmsNormTest, HeadsEqualSeparateRows) {
  for (const auto& [t, heads, d, gap] :
       {std::tuple<int64_t, int64_t, int64_t, int64_t>{5, 3, 16, 2}, {1, 40, 128, 0}, {33, 2, 7, 1}, {12, 5, 24, 8}}) {
    Operand x = operand({t, heads * d}, normal(t * heads * d), gap), w = operand({d}, normal(d)),
            y = operand({t, heads * d}, Values(size_t(t * heads * d)), gap);
    Operand rstd = operand(DType::f32, {heads, t}, Values(size_t(heads * t), NAN));
    rms_norm(ctx, x.view().heads(heads), w.view(), kEps, y.view().heads(heads), &rstd.view());
    expect_close("y", y, reference::rms_norm(x.values(), w.values(), t * heads, d, double(kEps)));
    for (int64_t h = 0; h < heads; ++h) {
      Operand alone = operand({t, d}, Values(size_t(t * d))), scale = operand(DType::f32, {t}, Values(size_t(t)));
      rms_norm(ctx, x.view().cols(h * d, d), w.view(), kEps, alone.view(), &scale.view());
      const Values of_head = alone.read(), of_all = y.read(), scales = rstd.read();
      for (int64_t i = 0; i < t; ++i)
        for (int64_t j = 0; j < d; ++j)
          ASSERT_EQ(of_all[size_t((i * heads + h) * d + j)], of_head[size_t(i * d + j)]) << i << ", " << h << ", " << j;
      EXPECT_EQ(Values(scales.begin() + h * t, scales.begin() + (h + 1) * t), scale.read());
    }

    Operand dy = operand({t, heads * d}, normal(t * heads * d), gap), dw = operand(DType::f32, {d}, normal(d));
    reference::NormGradients g =
        reference::rms_norm_backward(dy.values(), x.values(), w.values(), t * heads, d, double(kEps));
    for (size_t i = 0; i < g.dweight.size(); ++i) g.dweight[i] += dw.values()[i];
    rms_norm_backward(ctx, dy.view().heads(heads), {x.view().heads(heads), w.view(), rstd.view()},
                      dy.view().heads(heads), /*accumulate=*/false, &dw.view());
    expect_close("dx", dy, g.dx, 4);
    expect_close("dweight", dw, g.dweight, double(t * heads));

    const Values normed = y.read();
    rms_norm(ctx, x.view().heads(heads), w.view(), kEps, x.view().heads(heads), nullptr);
    EXPECT_EQ(x.read(), normed) << "in place";
  }
}

TEST_P(RmsNormTest, BackwardEqualsTheReference) {
  for (const auto& [t, d, accumulate] :
       {std::tuple<int64_t, int64_t, bool>{6, 130, false}, {6, 130, true}, {2, 20000, true}}) {
    Operand x = operand({t, d}, normal(t * d)), w = operand({d}, normal(d)), dy = operand({t, d}, normal(t * d), 1);
    Operand y = operand({t, d}, Values(size_t(t * d))), rstd = operand(DType::f32, {t}, Values(static_cast<size_t>(t)));
    Operand dx = operand({t, d}, accumulate ? normal(t * d) : Values(size_t(t * d), NAN)),
            dw = operand(DType::f32, {d}, normal(d));
    rms_norm(ctx, x.view(), w.view(), kEps, y.view(), &rstd.view());
    reference::NormGradients g = reference::rms_norm_backward(dy.values(), x.values(), w.values(), t, d, double(kEps));
    for (size_t i = 0; i < g.dx.size(); ++i) g.dx[i] += accumulate ? dx.values()[i] : 0;
    for (size_t i = 0; i < g.dweight.size(); ++i) g.dweight[i] += dw.values()[i];
    rms_norm_backward(ctx, dy.view(), {x.view(), w.view(), rstd.view()}, dx.view(), accumulate, &dw.view());
    expect_close("dx", dx, g.dx, 4);
    expect_close("dweight", dw, g.dweight, double(t));
  }
}

TEST_P(RmsNormTest, ReferenceGradientEqualsFiniteDifferences) {
  const int64_t t = 2, d = 5;
  const Values x = normal(t * d), w = normal(d), dy = normal(t * d);
  const reference::NormGradients g = reference::rms_norm_backward(dy, x, w, t, d, 1e-5);
  expect_same("dx", g.dx,
              finite_differences(x, [&](const Values& v) { return inner(dy, reference::rms_norm(v, w, t, d, 1e-5)); }));
  expect_same("dweight", g.dweight,
              finite_differences(w, [&](const Values& v) { return inner(dy, reference::rms_norm(x, v, t, d, 1e-5)); }));
}

}  // namespace
}  // namespace vpref
