// SPDX-License-Identifier: Apache-2.0
// Matrix products. Letters: T rows (tokens), K inputs, N outputs.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// An operand of a product: a matrix, or its transpose if `transposed`.
struct GemmOperand {
  GemmOperand(const Tensor& matrix, bool transposed = false) : matrix(matrix), transposed(transposed) {}
  int64_t rows() const { return matrix.dim(transposed ? 1 : 0); }
  int64_t cols() const { return matrix.dim(transposed ? 0 : 1); }

  Tensor matrix;
  bool transposed;
};
inline GemmOperand transposed(const Tensor& matrix) { return {matrix, true}; }

// c[M,N] = alpha * a * b + beta * c, f32 accumulation; a is [M,K], b is [K,N].
//   a, b: f32 or bf16 (same dtype), rows may be strided.  c: f32 or bf16.  beta: any; 0 ignores what c held (also NaN).
// Throws shape, dtype.
void gemm(Context& ctx, const GemmOperand& a, const GemmOperand& b, const Tensor& c, float alpha = 1.0f,
          float beta = 0.0f);
VPREF_KERNELS(void, gemm, Context&, const GemmOperand&, const GemmOperand&, const Tensor&, float, float)

// y[T,N] = x[T,K] * weight[N,K]^T (+ bias[N]) + beta * y. Small T takes a bandwidth-bound path that reads the weights
// once.
//   weight: f32, bf16 or f16 as stored; x, y: f32 or bf16; bias: any float dtype or null.
// On the CPU, f32 x gives the exact path for any weight dtype. With bf16 x, f16 weights are rounded to bf16 if the CPU
// has a bf16 dot product.
void linear(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y,
            float beta = 0.0f);
VPREF_KERNELS(void, linear, Context&, const Tensor&, const Tensor&, const Tensor*, const Tensor&, float)
// Throws shape, dtype, as linear() does.
void expect_linear(const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y);

// dx[T,K] = dy[T,N] * weight[N,K] + beta * dx.
void linear_backward_input(Context& ctx, const Tensor& dy, const Tensor& weight, const Tensor& dx, float beta = 0.0f);
VPREF_KERNELS(void, linear_backward_input, Context&, const Tensor&, const Tensor&, const Tensor&, float)

// dweight[N,K] += alpha * dy[T,N]^T * x[T,K];  dbias[N] += alpha * column sums of dy (dbias may be null). Gradients are
// f32.
void linear_backward_weight(Context& ctx, const Tensor& dy, const Tensor& x, const Tensor& dweight, const Tensor* dbias,
                            float alpha = 1.0f);
VPREF_KERNELS(void, linear_backward_weight, Context&, const Tensor&, const Tensor&, const Tensor&, const Tensor*, float)

}  // namespace vpref
