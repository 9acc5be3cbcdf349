// SPDX-License-Identifier: Apache-2.0
#include "ops/rms_norm.h"

#include "ops/check.h"

namespace vpref {
namespace {

void check_rows(const char* op, const char* name, const Tensor& t, const Tensor& as) {
  expect_same_shape(op, name, t, as);
  expect_activation(op, name, t);
  expect_dense_rows(op, name, t);
}

// x: [T,D] or, with `heads`, [T,H,D].
void check_norm(const char* op, const Tensor& x, const Tensor& weight, const Tensor* rstd, bool heads) {
  if (!heads) expect_shape(op, "x", x, {-1, -1});
  check_rows(op, "x", x, x);
  expect_shape(op, "weight", weight, {x.dim(x.rank - 1)});
  expect_float(op, "weight", weight);
  if (!rstd) return;
  if (heads)
    expect_shape(op, "rstd", *rstd, {x.dim(1), x.dim(0)});
  else
    expect_shape(op, "rstd", *rstd, {x.dim(0)});
  expect_dtype(op, "rstd", *rstd, {DType::f32});
}

}  // namespace

void rms_norm(Context& ctx, const Tensor& x, const Tensor& weight, float eps, const Tensor& y, const Tensor* rstd) {
  check_norm("rms_norm", x, weight, rstd, x.rank == 3);
  check_rows("rms_norm", "y", y, x);
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, rms_norm, x, weight, eps, y, rstd);
}

void add_rms_norm(Context& ctx, const ResidualAdd& residual, const Tensor& weight, float eps, const Tensor& y,
                  const Tensor* rstd) {
  const auto& [x, delta, sum] = residual;
  check_norm("add_rms_norm", x, weight, rstd, /*heads=*/false);
  check_rows("add_rms_norm", "delta", delta, x);
  check_rows("add_rms_norm", "sum", sum, x);
  expect_dtype("add_rms_norm", "sum", sum, {x.dtype});
  check_rows("add_rms_norm", "y", y, x);
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, add_rms_norm, residual, weight, eps, y, rstd);
}

void rms_norm_backward(Context& ctx, const Tensor& dy, const RmsNormForward& forward, const Tensor& dx, bool accumulate,
                       const Tensor* dweight) {
  const auto& [x, weight, rstd] = forward;
  check_norm("rms_norm_backward", x, weight, &rstd, x.rank == 3);
  check_rows("rms_norm_backward", "dy", dy, x);
  check_rows("rms_norm_backward", "dx", dx, x);
  if (dweight) {
    expect_shape("rms_norm_backward", "dweight", *dweight, {weight.dim(0)});
    expect_dtype("rms_norm_backward", "dweight", *dweight, {DType::f32});
  }
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, rms_norm_backward, dy, forward, dx, accumulate, dweight);
}

}  // namespace vpref
