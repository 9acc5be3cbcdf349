// SPDX-License-Identifier: Apache-2.0
#include "ops/gemm.h"

#include "ops/check.h"

namespace vpref {

void gemm(Context& ctx, const GemmOperand& a, const GemmOperand& b, const Tensor& c, float alpha, float beta) {
  expect_shape("gemm", "c", c, {-1, -1});
  expect_shape("gemm", "a", a.matrix, {a.transposed ? -1 : c.dim(0), a.transposed ? c.dim(0) : -1});
  const int64_t k = a.cols();
  expect_shape("gemm", "b", b.matrix, {b.transposed ? c.dim(1) : k, b.transposed ? k : c.dim(1)});
  expect_activation("gemm", "a", a.matrix);
  expect_dtype("gemm", "b", b.matrix, {a.matrix.dtype});
  expect_activation("gemm", "c", c);
  for (const Tensor* t : {&a.matrix, &b.matrix, &c}) expect_dense_rows("gemm", "operand", *t);
  if (c.numel() == 0) return;
  VPREF_DISPATCH(ctx, gemm, a, b, c, alpha, beta);
}

void expect_linear(const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y) {
  expect_shape("linear", "weight", weight, {-1, -1});
  expect_shape("linear", "x", x, {-1, weight.dim(1)});
  expect_shape("linear", "y", y, {x.dim(0), weight.dim(0)});
  expect_activation("linear", "x", x);
  expect_activation("linear", "y", y);
  expect_float("linear", "weight", weight);
  for (const Tensor* t : {&x, &weight, &y}) expect_dense_rows("linear", "operand", *t);
  if (bias) {
    expect_shape("linear", "bias", *bias, {weight.dim(0)});
    expect_float("linear", "bias", *bias);
  }
}

void linear(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y, float beta) {
  expect_linear(x, weight, bias, y);
  if (y.numel() == 0) return;
  VPREF_DISPATCH(ctx, linear, x, weight, bias, y, beta);
}

void linear_backward_input(Context& ctx, const Tensor& dy, const Tensor& weight, const Tensor& dx, float beta) {
  expect_shape("linear_backward_input", "weight", weight, {-1, -1});
  expect_shape("linear_backward_input", "dy", dy, {-1, weight.dim(0)});
  expect_shape("linear_backward_input", "dx", dx, {dy.dim(0), weight.dim(1)});
  expect_activation("linear_backward_input", "dy", dy);
  expect_activation("linear_backward_input", "dx", dx);
  expect_float("linear_backward_input", "weight", weight);
  for (const Tensor* t : {&dy, &weight, &dx}) expect_dense_rows("linear_backward_input", "operand", *t);
  if (dx.numel() == 0) return;
  VPREF_DISPATCH(ctx, linear_backward_input, dy, weight, dx, beta);
}

void linear_backward_weight(Context& ctx, const Tensor& dy, const Tensor& x, const Tensor& dweight, const Tensor* dbias,
                            float alpha) {
  expect_shape("linear_backward_weight", "dweight", dweight, {-1, -1});
  expect_shape("linear_backward_weight", "dy", dy, {-1, dweight.dim(0)});
  expect_shape("linear_backward_weight", "x", x, {dy.dim(0), dweight.dim(1)});
  expect_activation("linear_backward_weight", "dy", dy);
  expect_activation("linear_backward_weight", "x", x);
  expect_dtype("linear_backward_weight", "dweight", dweight, {DType::f32});
  for (const Tensor* t : {&dy, &x, &dweight}) expect_dense_rows("linear_backward_weight", "operand", *t);
  if (dbias) {
    expect_shape("linear_backward_weight", "dbias", *dbias, {dweight.dim(0)});
    expect_dtype("linear_backward_weight", "dbias", *dbias, {DType::f32});
  }
  if (dy.dim(0) == 0 || dweight.numel() == 0) return;
  VPREF_DISPATCH(ctx, linear_backward_weight, dy, x, dweight, dbias, alpha);
}

}  // namespace vpref
