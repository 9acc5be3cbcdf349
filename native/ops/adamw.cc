// SPDX-License-Identifier: Apache-2.0
#include "ops/adamw.h"

#include "ops/check.h"

namespace vpref {
namespace {

void check_flat(const char* op, const char* name, const Tensor& t, int64_t n, DType dtype) {
  expect_shape(op, name, t, {n});
  expect_dtype(op, name, t, {dtype});
  expect_dense_rows(op, name, t);
}

}  // namespace

void adamw(Context& ctx, const AdamW& options, const Tensor& param, const Tensor& grad, const Tensor& m,
           const Tensor& v, const Tensor* copy) {
  expect_shape("adamw", "param", param, {-1});
  const int64_t n = param.dim(0);
  check_flat("adamw", "param", param, n, DType::f32);
  check_flat("adamw", "grad", grad, n, DType::f32);
  check_flat("adamw", "m", m, n, DType::f32);
  check_flat("adamw", "v", v, n, DType::f32);
  if (copy) check_flat("adamw", "copy", *copy, n, DType::bf16);
  check(options.step >= 1, "config", "[adamw] step: expected >= 1, got ", options.step);
  if (n == 0) return;
  VPREF_DISPATCH(ctx, adamw, options, param, grad, m, v, copy);
}

double sum_of_squares(Context& ctx, const Tensor& x) {
  expect_shape("sum_of_squares", "x", x, {-1});
  check_flat("sum_of_squares", "x", x, x.dim(0), DType::f32);
  if (x.dim(0) == 0) return 0.0;
  return VPREF_DISPATCH(ctx, sum_of_squares, x);
}

}  // namespace vpref
