// SPDX-License-Identifier: Apache-2.0
// The matrix product behind gemm and linear, and who can do it: oneDNN, a BLAS, or the built-in kernels.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/context.h"
#include "core/dtype.h"

namespace vpref::cpu {

// c[m,n] = alpha * sum_k a[m,k] b[k,n] + beta * c. Strides in elements; c's columns lie side by side.
struct Matmul {
  int64_t m, n, k;
  const void* a;
  DType a_dtype;
  int64_t a_row, a_col;
  const void* b;
  DType b_dtype;
  int64_t b_row, b_col;  // steps along k and along n
  void* c;
  DType c_dtype;
  int64_t c_row;
  float alpha, beta;
};

// False when the library is not built in or has no fast kernel for these dtypes: the next one is asked.
bool matmul_dnnl(Context& ctx, const Matmul& p);
bool matmul_blas(Context& ctx, const Matmul& p);

// Any float dtypes, f32 arithmetic; every element sums over k in the same order whatever the number of threads.
// scratch: matmul_builtin_bytes(ctx, p) of 64-byte aligned memory.
size_t matmul_builtin_bytes(const Context& ctx, const Matmul& p);
void matmul_builtin(Context& ctx, const Matmul& p, void* scratch);

// The CPU multiplies bf16 pairs in hardware; without that f32 is the faster way.
bool has_bf16_dot();

}  // namespace vpref::cpu
