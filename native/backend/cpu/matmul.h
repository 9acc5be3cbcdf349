// SPDX-License-Identifier: Apache-2.0
// The matrix product behind gemm and linear, by oneDNN, a BLAS, or the built-in kernels.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/context.h"
#include "core/dtype.h"

namespace vpref::cpu {

// c[m,n] = alpha * sum_k a[m,k] b[k,n] + beta * c. Strides are in elements; the columns of c are adjacent.
struct Matmul {
  int64_t m, n, k;
  const void* a;
  DType a_dtype;
  int64_t a_row, a_col;
  const void* b;
  DType b_dtype;
  int64_t b_row, b_col;  // strides along k and n
  void* c;
  DType c_dtype;
  int64_t c_row;
  float alpha, beta;
};

// Return false if the library is not built in, or has no fast kernel for these dtypes; the caller then tries the next
// one.
bool matmul_dnnl(Context& ctx, const Matmul& p);
bool matmul_blas(Context& ctx, const Matmul& p);

// Any float dtypes, f32 arithmetic. Every element sums over k in the same order for any number of threads. scratch:
// matmul_builtin_bytes(ctx, p) of 64-byte aligned memory.
size_t matmul_builtin_bytes(const Context& ctx, const Matmul& p);
void matmul_builtin(Context& ctx, const Matmul& p, void* scratch);

// Whether the CPU has a bf16 dot product; otherwise f32 is faster.
bool has_bf16_dot();

}  // namespace vpref::cpu
