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

// On the CPU a wrong axis would read other memory.
void check_axis(Context& ctx, const char* op, const Tensor& axis, int64_t axes) {
  if (!readable(ctx)) return;
  for (int64_t i = 0; i < axis.dim(0); ++i) {
    const int32_t a = axis.as<int32_t>()[i];
    check(a >= 0 && a < axes, "shape", "[", op, "] axis[", i, "]: expected [0, ", axes, "), got ", a);
  }
}

void check_rotation(Context& ctx, const char* op, const char* name, const Tensor& x, const Rotation& r) {
  check_heads(op, name, x);
  check(x.dim(2) % 2 == 0, "shape", "[", op, "] ", name, ": expected an even head size, got ", x);
  expect_shape(op, "positions", r.positions, {-1, x.dim(0)});
  expect_dtype(op, "positions", r.positions, {DType::i32});
  check(r.positions.dense(), "shape", "[", op, "] positions: expected a dense tensor");
  expect_shape(op, "inv_freq", r.inv_freq, {x.dim(2) / 2});
  expect_dtype(op, "inv_freq", r.inv_freq, {DType::f32});
  const int64_t axes = r.positions.dim(0);
  if (!r.axis) return check(axes == 1, "shape", "[", op, "] positions: expected 1 row without axis, got ", axes);
  expect_shape(op, "axis", r.axis, {x.dim(2) / 2});
  expect_dtype(op, "axis", r.axis, {DType::i32});
  check_axis(ctx, op, r.axis, axes);
}

}  // namespace

void rope(Context& ctx, const Tensor& x, const Rotation& rotation, bool inverse) {
  check_rotation(ctx, "rope", "x", x, rotation);
  if (x.numel() == 0) return;
  VPREF_DISPATCH(ctx, rope, x, rotation, inverse);
}

void rope_to_cache(Context& ctx, const Tensor& qkv, const Rotation& rotation, const Tensor& kv_rows, const Tensor& keys,
                   const Tensor& values) {
  constexpr const char* op = "rope_to_cache";
  check_rotation(ctx, op, "qkv", qkv, rotation);
  expect_shape(op, "kv_rows", kv_rows, {qkv.dim(0)});
  expect_dtype(op, "kv_rows", kv_rows, {DType::i32});
  expect_shape(op, "keys", keys, {-1, -1, qkv.dim(2)});
  expect_shape(op, "values", values, {keys.dim(0), keys.dim(1), keys.dim(2)});
  check(2 * keys.dim(1) <= qkv.dim(1), "shape", "[", op, "] qkv: expected at least ", 2 * keys.dim(1), " heads, got ",
        qkv);
  for (const Tensor* t : {&keys, &values}) {
    check_heads(op, "cache", *t);
    expect_dtype(op, "cache", *t, {qkv.dtype});
  }
  expect_rows(ctx, op, kv_rows, keys.dim(0));
  if (qkv.numel() == 0) return;
  VPREF_DISPATCH(ctx, rope_to_cache, qkv, rotation, kv_rows, keys, values);
}

}  // namespace vpref
