// SPDX-License-Identifier: Apache-2.0
// Linear layers whose weights are packed (core/packed_weight.h). Letters as in gemm.h.
#pragma once
#include "core/packed_weight.h"
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// Maximum rows of packed_linear on CUDA; the CPU takes any number.
constexpr int64_t kPackedSkinnyRows = 16;

// y[T,N] = x[T,K] * w[N,K]^T (+ bias[N]) + beta * y, from packed weights; a weight is code x scale in f32.
//   x, y: f32 or bf16; bias: any float dtype or null.
// On the CPU a row has the same bytes for any number of rows. Products of codes are summed before they are scaled, so
// the result equals linear() over the unpacked f32 weights up to rounding. With bf16 x, the sixteen values of
// interleaved 4-bit codes are rounded to bf16 if the CPU has a bf16 dot product.
void packed_linear(Context& ctx, const Tensor& x, const PackedWeight& w, const Tensor* bias, const Tensor& y,
                   float beta = 0.0f);
VPREF_KERNELS(void, packed_linear, Context&, const Tensor&, const PackedWeight&, const Tensor*, const Tensor&, float)
// Throws shape, dtype, as packed_linear() does on the CPU.
void expect_packed_linear(const Tensor& x, const PackedWeight& w, const Tensor* bias, const Tensor& y);

// to[rows,cols] = rows [row, row + rows) and columns [col, col + cols) of w, f32 or rounded to bf16.
void unpack_tile(Context& ctx, const PackedWeight& w, int64_t row, int64_t col, const Tensor& to);
VPREF_KERNELS(void, unpack_tile, Context&, const PackedWeight&, int64_t, int64_t, const Tensor&)

}  // namespace vpref
