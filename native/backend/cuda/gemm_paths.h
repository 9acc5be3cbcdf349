// SPDX-License-Identifier: Apache-2.0
// The ways of a product on the device; gemm() and linear() choose one by shape and dtype.
#pragma once
#include "ops/gemm.h"

namespace vpref::cuda {

// Whether a b goes to the kernel for few rows: at most 16, bf16, b transposed, operands in whole 16-byte pieces.
// Everything else goes to cuBLASLt.
bool takes_skinny(const GemmOperand& a, const GemmOperand& b);

// c = alpha a b + beta c by cuBLASLt whatever the shape: the bench times it beside the other, tests compare both.
void gemm_cublaslt(Context& ctx, const GemmOperand& a, const GemmOperand& b, const Tensor& c, float alpha = 1.0f,
                   float beta = 0.0f);

}  // namespace vpref::cuda
