// SPDX-License-Identifier: Apache-2.0
#include "ops/rms_norm.h"

#include "ops/check.h"

namespace vpref {
namespace {

void check_rows(const char* op, const char* name, const Tensor& t, const Tensor& as) {
  expect_shape(op, name, t, {as.dim(0), as.dim(1)});
  expect_activation(op, name, t);
  expect_dense_rows(op, name, t);
}

void check_norm(const char* op, const Tensor& x, const Tensor& weight, const Tensor* rstd) {
  expect_shape(op, "x", x, {-1, -1});
  check_rows(op, "x", x, x);
  expect_shape(op, "weight", weight, {x.dim(1)});
  expect_float(op, "weight", weight);
  if (rstd) {
    expect_shape(op, "rstd", *rstd, {x.dim(0)});
    expect_dtype(op, "rstd", *rstd, {DType::f32});
  }
}

// Head h of [T,H,D] as rows [T,D].
Tensor head(const Tensor& x, int64_t h) { return x.joined().cols(h * x.dim(2), x.dim(2)); }

Tensor scales_of_head(const Tensor& rstd, int64_t h) { return rstd.rows(h, 1).reshaped({rstd.dim(1)}); }

}  // namespace

void rms_norm(Context& ctx, const Tensor& x, const Tensor& weight, float eps, const Tensor& y, const Tensor* rstd) {
  if (x.rank == 3) {
    expect_same_shape("rms_norm", "y", y, x);
    if (rstd) expect_shape("rms_norm", "rstd", *rstd, {x.dim(1), x.dim(0)});
    for (int64_t h = 0; h < x.dim(1); ++h) {
      const Tensor scales = rstd ? scales_of_head(*rstd, h) : Tensor();
      rms_norm(ctx, head(x, h), weight, eps, head(y, h), rstd ? &scales : nullptr);
    }
    return;
  }
  check_norm("rms_norm", x, weight, rstd);
  check_rows("rms_norm", "y", y, x);
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, rms_norm, x, weight, eps, y, rstd);
}

void add_rms_norm(Context& ctx, const ResidualAdd& residual, const Tensor& weight, float eps, const Tensor& y,
                  const Tensor* rstd) {
  const auto& [x, delta, sum] = residual;
  check_norm("add_rms_norm", x, weight, rstd);
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
  if (x.rank == 3) {
    expect_same_shape("rms_norm_backward", "dy", dy, x);
    expect_same_shape("rms_norm_backward", "dx", dx, x);
    expect_shape("rms_norm_backward", "rstd", rstd, {x.dim(1), x.dim(0)});
    for (int64_t h = 0; h < x.dim(1); ++h)
      rms_norm_backward(ctx, head(dy, h), {head(x, h), weight, scales_of_head(rstd, h)}, head(dx, h), accumulate,
                        dweight);
    return;
  }
  check_norm("rms_norm_backward", x, weight, &rstd);
  check_rows("rms_norm_backward", "dy", dy, x);
  check_rows("rms_norm_backward", "dx", dx, x);
  if (dweight) {
    expect_shape("rms_norm_backward", "dweight", *dweight, {x.dim(1)});
    expect_dtype("rms_norm_backward", "dweight", *dweight, {DType::f32});
  }
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, rms_norm_backward, dy, forward, dx, accumulate, dweight);
}

}  // namespace vpref
