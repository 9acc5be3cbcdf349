// SPDX-License-Identifier: Apache-2.0
#include "ops/rows.h"

#include "ops/check.h"

namespace vpref {
namespace {

void check_moved(const char* op, const Tensor& table, const char* table_name, const Tensor& index, const Tensor& packed,
                 const char* packed_name) {
  expect_shape(op, table_name, table, {-1, -1});
  expect_dtype(op, "index", index, {DType::i32});
  expect_shape(op, "index", index, {-1});
  expect_shape(op, packed_name, packed, {index.dim(0), table.dim(1)});
  expect_activation(op, packed_name, packed);
  expect_dense_rows(op, packed_name, packed);
  expect_dense_rows(op, table_name, table);
}

}  // namespace

void gather_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y) {
  check_moved("gather_rows", x, "x", index, y, "y");
  expect_float("gather_rows", "x", x);
  expect_rows(ctx, "gather_rows", index, x.dim(0));
  if (y.numel() == 0) return;
  VPREF_DISPATCH(ctx, gather_rows, x, index, y);
}

void scatter_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y) {
  check_moved("scatter_rows", y, "y", index, x, "x");
  expect_activation("scatter_rows", "y", y);
  expect_rows(ctx, "scatter_rows", index, y.dim(0));
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, scatter_rows, x, index, y);
}

void scatter_add_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y) {
  check_moved("scatter_add_rows", y, "y", index, x, "x");
  expect_activation("scatter_add_rows", "y", y);
  expect_rows(ctx, "scatter_add_rows", index, y.dim(0));
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, scatter_add_rows, x, index, y);
}

}  // namespace vpref
