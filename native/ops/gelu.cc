// SPDX-License-Identifier: Apache-2.0
#include "ops/gelu.h"

#include "ops/check.h"

namespace vpref {
namespace {

void check_rows(const char* op, const char* name, const Tensor& t, const Tensor& as) {
  expect_shape(op, name, t, {as.dim(0), as.dim(1)});
  expect_activation(op, name, t);
  expect_dense_rows(op, name, t);
}

}  // namespace

void gelu(Context& ctx, Gelu kind, const Tensor& x, const Tensor& y) {
  expect_shape("gelu", "x", x, {-1, -1});
  check_rows("gelu", "x", x, x);
  check_rows("gelu", "y", y, x);
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, gelu, kind, x, y);
}

void gelu_backward(Context& ctx, Gelu kind, const Tensor& dy, const Tensor& x, const Tensor& dx) {
  expect_shape("gelu_backward", "x", x, {-1, -1});
  check_rows("gelu_backward", "x", x, x);
  check_rows("gelu_backward", "dy", dy, x);
  check_rows("gelu_backward", "dx", dx, x);
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, gelu_backward, kind, dy, x, dx);
}

}  // namespace vpref
