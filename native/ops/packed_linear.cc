// SPDX-License-Identifier: Apache-2.0
#include "ops/packed_linear.h"

#include "core/interleaved_weight.h"
#include "ops/check.h"

namespace vpref {
namespace {

void expect_packed(const char* op, const PackedWeight& w) {
  check(bool(w), "dtype", "[", op, "] weight: expected a packed one, got none");
  const bool four_bit = is_four_bit(w.packing);
  if (w.interleaved) {
    const PackedWeight layout = interleaved_layout(w, nullptr);
    expect_shape(op, "codes", w.codes, {layout.codes.dim(0), layout.codes.dim(1), kInterleavedRows, kLaneBytes});
    expect_shape(op, "scales", w.scales, {layout.scales.dim(0), layout.scales.dim(1), kInterleavedRows});
    expect_dtype(op, "codes", w.codes, {DType::u8});
    expect_dtype(op, "scales", w.scales, {DType::f32});
    if (four_bit) expect_shape(op, "book", w.book, {16});
    return;
  }
  if (four_bit)
    expect_shape(op, "codes", w.codes, {(w.numel() + 1) / 2});
  else
    expect_shape(op, "codes", w.codes, {w.num_rows, w.num_cols});
  expect_dtype(op, "codes", w.codes, {DType::u8});
  expect_shape(op, "scales", w.scales, {four_bit ? w.num_blocks() : w.num_rows});
  expect_dtype(op, "scales", w.scales, {w.nested() ? DType::u8 : DType::f32});
  if (four_bit) expect_shape(op, "book", w.book, {16});
  if (!w.nested()) return;
  expect_shape(op, "nested_scales", w.nested_scales, {(w.num_blocks() + w.nested_block - 1) / w.nested_block});
  expect_shape(op, "nested_book", w.nested_book, {256});
}

}  // namespace

void expect_packed_linear(const Tensor& x, const PackedWeight& w, const Tensor* bias, const Tensor& y) {
  expect_packed("packed_linear", w);
  expect_shape("packed_linear", "x", x, {-1, w.num_cols});
  expect_shape("packed_linear", "y", y, {x.dim(0), w.num_rows});
  expect_activation("packed_linear", "x", x);
  expect_activation("packed_linear", "y", y);
  for (const Tensor* t : {&x, &y}) expect_dense_rows("packed_linear", "operand", *t);
  if (bias) {
    expect_shape("packed_linear", "bias", *bias, {w.num_rows});
    expect_float("packed_linear", "bias", *bias);
  }
}

void packed_linear(Context& ctx, const Tensor& x, const PackedWeight& w, const Tensor* bias, const Tensor& y,
                   float beta) {
  expect_packed_linear(x, w, bias, y);
  check(ctx.device == Device::cpu || x.dim(0) <= kPackedSkinnyRows, "shape", "[packed_linear] x: expected at most ",
        kPackedSkinnyRows, " rows, got ", x);
  if (y.numel() == 0) return;
  VPREF_DISPATCH(ctx, packed_linear, x, w, bias, y, beta);
}

void unpack_tile(Context& ctx, const PackedWeight& w, int64_t row, int64_t col, const Tensor& to) {
  expect_packed("unpack_tile", w);
  expect_shape("unpack_tile", "to", to, {-1, -1});
  expect_activation("unpack_tile", "to", to);
  expect_dense_rows("unpack_tile", "to", to);
  check(row >= 0 && row + to.dim(0) <= w.num_rows && col >= 0 && col + to.dim(1) <= w.num_cols, "shape",
        "[unpack_tile] to: expected a part of [", w.num_rows, ", ", w.num_cols, "], got ", to, " from [", row, ", ",
        col, "]");
  if (to.numel() == 0) return;
  VPREF_DISPATCH(ctx, unpack_tile, w, row, col, to);
}

}  // namespace vpref
