// SPDX-License-Identifier: Apache-2.0
// The operand checks that the ops share. Each throws Error "[op] name: expected ..., got ...".
#pragma once
#include <algorithm>
#include <initializer_list>

#include "core/context.h"
#include "core/error.h"
#include "core/tensor.h"

namespace vpref {

inline void expect_dtype(const char* op, const char* name, const Tensor& t, std::initializer_list<DType> allowed) {
  if (std::find(allowed.begin(), allowed.end(), t.dtype) != allowed.end()) return;
  std::string want;
  for (DType d : allowed) want += (want.empty() ? "" : " or ") + std::string(dtype_name(d));
  throw Error("dtype", cat("[", op, "] ", name, ": expected ", want, ", got ", t));
}

// An activation: stored as f32 or bf16, computed in f32.
inline void expect_activation(const char* op, const char* name, const Tensor& t) {
  expect_dtype(op, name, t, {DType::f32, DType::bf16});
}

inline void expect_float(const char* op, const char* name, const Tensor& t) {
  expect_dtype(op, name, t, {DType::f32, DType::bf16, DType::f16});
}

inline void expect_same_shape(const char* op, const char* name, const Tensor& t, const Tensor& as) {
  bool same = t.rank == as.rank;
  for (int i = 0; same && i < t.rank; ++i) same = t.shape[i] == as.shape[i];
  check(same, "shape", "[", op, "] ", name, ": expected the shape of ", as, ", got ", t);
}

// The elements of a row (all dimensions except the first) must be contiguous.
inline void expect_dense_rows(const char* op, const char* name, const Tensor& t) {
  int64_t s = 1;
  for (int k = t.rank - 1; k >= 1; --k) {
    check(t.shape[k] == 1 || t.stride[k] == s, "shape", "[", op, "] ", name, ": expected rows without gaps, got ", t);
    s *= t.shape[k];
  }
  check(t.rank != 1 || t.shape[0] <= 1 || t.stride[0] == 1, "shape", "[", op, "] ", name, ": expected a dense vector");
}

// Whether an op may read the values of its operands here: they are in host memory, and the context does not measure.
inline bool readable(const Context& ctx) { return ctx.device == Device::cpu && !ctx.measuring(); }

// Row indices, or -1. On the CPU a wrong index would access other memory, so it is refused; on the GPU the kernel skips
// it.
inline void expect_rows(Context& ctx, const char* op, const Tensor& index, int64_t rows) {
  if (!readable(ctx)) return;
  const int32_t* at = index.as<int32_t>();
  for (int64_t i = 0; i < index.dim(0); ++i)
    check(at[i] >= -1 && at[i] < rows, "shape", "[", op, "] index[", i, "]: expected -1 or [0, ", rows, "), got ",
          at[i]);
}

}  // namespace vpref
