// SPDX-License-Identifier: Apache-2.0
#include "ops/layer_norm.h"

#include "ops/check.h"

namespace vpref {
namespace {

void check_rows(const char* op, const char* name, const Tensor& t, const Tensor& as) {
  expect_shape(op, name, t, {as.dim(0), as.dim(1)});
  expect_activation(op, name, t);
  expect_dense_rows(op, name, t);
}

void check_vector(const char* op, const char* name, const Tensor& t, int64_t n) {
  expect_shape(op, name, t, {n});
  expect_float(op, name, t);
}

}  // namespace

void layer_norm(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias, float eps, const Tensor& y,
                const Tensor* mean_rstd) {
  expect_shape("layer_norm", "x", x, {-1, -1});
  check_rows("layer_norm", "x", x, x);
  check_rows("layer_norm", "y", y, x);
  check_vector("layer_norm", "weight", weight, x.dim(1));
  check_vector("layer_norm", "bias", bias, x.dim(1));
  if (mean_rstd) {
    expect_shape("layer_norm", "mean_rstd", *mean_rstd, {x.dim(0), 2});
    expect_dtype("layer_norm", "mean_rstd", *mean_rstd, {DType::f32});
  }
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, layer_norm, x, weight, bias, eps, y, mean_rstd);
}

void layer_norm_backward(Context& ctx, const Tensor& dy, const LayerNormForward& forward, const Tensor& dx,
                         bool accumulate, const Tensor* dweight, const Tensor* dbias) {
  constexpr const char* op = "layer_norm_backward";
  const auto& [x, weight, mean_rstd] = forward;
  expect_shape(op, "x", x, {-1, -1});
  check_rows(op, "x", x, x);
  check_rows(op, "dy", dy, x);
  check_rows(op, "dx", dx, x);
  check_vector(op, "weight", weight, x.dim(1));
  expect_shape(op, "mean_rstd", mean_rstd, {x.dim(0), 2});
  expect_dtype(op, "mean_rstd", mean_rstd, {DType::f32});
  check((dweight == nullptr) == (dbias == nullptr), "shape", "[", op, "] dweight, dbias: expected both or neither");
  if (dweight) {
    expect_shape(op, "dweight", *dweight, {x.dim(1)});
    expect_shape(op, "dbias", *dbias, {x.dim(1)});
    expect_dtype(op, "dweight", *dweight, {DType::f32});
    expect_dtype(op, "dbias", *dbias, {DType::f32});
  }
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, layer_norm_backward, dy, forward, dx, accumulate, dweight, dbias);
}

}  // namespace vpref
