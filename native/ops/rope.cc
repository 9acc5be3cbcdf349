// SPDX-License-Identifier: Apache-2.0
#include "ops/rope.h"

#include "ops/check.h"

namespace vpref {

void rope(Context& ctx, const Tensor& x, const Tensor& positions, const Tensor& inv_freq, bool inverse) {
  expect_shape("rope", "x", x, {-1, -1, -1});
  expect_activation("rope", "x", x);
  expect_dense_rows("rope", "x", x);
  check(x.dim(2) % 2 == 0, "shape", "[rope] x: expected an even head size, got ", shape_string(x));
  expect_shape("rope", "positions", positions, {1, x.dim(0)});
  expect_dtype("rope", "positions", positions, {DType::i32});
  expect_shape("rope", "inv_freq", inv_freq, {x.dim(2) / 2});
  expect_dtype("rope", "inv_freq", inv_freq, {DType::f32});
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, rope, x, positions, inv_freq, inverse);
}

}  // namespace vpref
