// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise.h"

#include "ops/check.h"

namespace vpref {
namespace {

void check_flat(const char* op, const char* name, const Tensor& t) {
  check(t.rank == 1 || t.rank == 2, "shape", "[", op, "] ", name, ": expected rank 1 or 2, got ", t);
  expect_dense_rows(op, name, t);
}

}  // namespace

void add(Context& ctx, const Tensor& x, const Tensor& y, float alpha) {
  check_flat("add", "x", x);
  check_flat("add", "y", y);
  expect_same_shape("add", "y", y, x);
  expect_activation("add", "x", x);
  expect_activation("add", "y", y);
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, add, x, y, alpha);
}

void convert(Context& ctx, const Tensor& x, const Tensor& y) {
  check_flat("convert", "x", x);
  check_flat("convert", "y", y);
  expect_same_shape("convert", "y", y, x);
  expect_float("convert", "x", x);
  expect_float("convert", "y", y);
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, convert, x, y);
}

void scale_rows(Context& ctx, const Tensor& row_scale, const Tensor& x) {
  expect_shape("scale_rows", "x", x, {-1, -1});
  check_flat("scale_rows", "x", x);
  expect_activation("scale_rows", "x", x);
  expect_shape("scale_rows", "row_scale", row_scale, {x.dim(0)});
  expect_dtype("scale_rows", "row_scale", row_scale, {DType::f32});
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, scale_rows, row_scale, x);
}

void fill(Context& ctx, float value, const Tensor& x) {
  expect_activation("fill", "x", x);
  check(x.dense(), "shape", "[fill] x: expected a dense tensor");
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, fill, value, x);
}

}  // namespace vpref
