// SPDX-License-Identifier: Apache-2.0
#include "ops/swiglu.h"

#include "ops/check.h"

namespace vpref {
namespace {

void check_rows(const char* op, const char* name, const Tensor& t, const Tensor& as) {
  expect_shape(op, name, t, {as.dim(0), as.dim(1)});
  expect_activation(op, name, t);
  expect_dense_rows(op, name, t);
}

}  // namespace

void swiglu(Context& ctx, const Tensor& gate, const Tensor& up, const Tensor& y) {
  expect_shape("swiglu", "gate", gate, {-1, -1});
  check_rows("swiglu", "gate", gate, gate);
  check_rows("swiglu", "up", up, gate);
  check_rows("swiglu", "y", y, gate);
  if (gate.numel() == 0) return;
  VPREF_DISPATCH(ctx, swiglu, gate, up, y);
}

void swiglu_backward(Context& ctx, const Tensor& dy, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                     const Tensor& dup) {
  constexpr const char* op = "swiglu_backward";
  expect_shape(op, "gate", gate, {-1, -1});
  check_rows(op, "gate", gate, gate);
  check_rows(op, "up", up, gate);
  check_rows(op, "dy", dy, gate);
  check_rows(op, "dgate", dgate, gate);
  check_rows(op, "dup", dup, gate);
  if (gate.numel() == 0) return;
  VPREF_DISPATCH(ctx, swiglu_backward, dy, gate, up, dgate, dup);
}

}  // namespace vpref
