// SPDX-License-Identifier: Apache-2.0
#include "ops/rope.h"

#include "ops/check.h"

namespace vpref {
namespace {

void check_heads(const char* op, const char* name, const Tensor& x) {
  expect_shape(op, name, x, {-1, -1, -1});
  expect_activation(op, name, x);
  expect_dense_rows(op, name, x);
}

void check_rotation(const char* op, const char* name, const Tensor& x, const Tensor& positions,
                    const Tensor& inv_freq) {
  check_heads(op, name, x);
  check(x.dim(2) % 2 == 0, "shape", "[", op, "] ", name, ": expected an even head size, got ", shape_string(x));
  expect_shape(op, "positions", positions, {1, x.dim(0)});
  expect_dtype(op, "positions", positions, {DType::i32});
  expect_shape(op, "inv_freq", inv_freq, {x.dim(2) / 2});
  expect_dtype(op, "inv_freq", inv_freq, {DType::f32});
}

}  // namespace

void rope(Context& ctx, const Tensor& x, const Tensor& positions, const Tensor& inv_freq, bool inverse) {
  check_rotation("rope", "x", x, positions, inv_freq);
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, rope, x, positions, inv_freq, inverse);
}

void rope_to_cache(Context& ctx, const Tensor& qkv, const Tensor& positions, const Tensor& inv_freq,
                   const Tensor& kv_rows, const Tensor& keys, const Tensor& values) {
  constexpr const char* op = "rope_to_cache";
  check_rotation(op, "qkv", qkv, positions, inv_freq);
  expect_shape(op, "kv_rows", kv_rows, {qkv.dim(0)});
  expect_dtype(op, "kv_rows", kv_rows, {DType::i32});
  expect_shape(op, "keys", keys, {-1, -1, qkv.dim(2)});
  expect_shape(op, "values", values, {keys.dim(0), keys.dim(1), keys.dim(2)});
  check(2 * keys.dim(1) <= qkv.dim(1), "shape", "[", op, "] qkv: expected at least ", 2 * keys.dim(1), " heads, got ",
        shape_string(qkv));
  for (const Tensor* t : {&keys, &values}) {
    check_heads(op, "cache", *t);
    expect_dtype(op, "cache", *t, {qkv.dtype});
  }
  expect_rows(ctx, op, kv_rows, keys.dim(0));
  if (qkv.numel() == 0) return;
  VPREF_DISPATCH(ctx, rope_to_cache, qkv, positions, inv_freq, kv_rows, keys, values);
}

}  // namespace vpref
