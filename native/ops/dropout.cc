// SPDX-License-Identifier: Apache-2.0
#include "ops/dropout.h"

#include "ops/check.h"

namespace vpref {

void dropout(Context& ctx, const Tensor& x, const Tensor& rows, const DropoutMask& mask, const Tensor& y,
             bool accumulate) {
  expect_shape("dropout", "x", x, {-1, -1});
  expect_activation("dropout", "x", x);
  expect_dense_rows("dropout", "x", x);
  expect_dtype("dropout", "y", y, {x.dtype});
  expect_same_shape("dropout", "y", y, x);
  expect_dense_rows("dropout", "y", y);
  expect_shape("dropout", "rows", rows, {x.dim(0), 2});
  expect_dtype("dropout", "rows", rows, {DType::i32});
  check(rows.dense(), "shape", "[dropout] rows: expected a dense tensor");
  check(mask.p >= 0 && mask.p < 1, "shape", "[dropout] p: expected a share in [0, 1), got ", mask.p);
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, dropout, x, rows, mask, y, accumulate);
}

}  // namespace vpref
