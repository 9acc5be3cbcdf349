// SPDX-License-Identifier: Apache-2.0
// The kernels of a product on the device; gemm() and linear() choose one by shape and dtype.
#pragma once
#include "ops/gemm.h"

namespace vpref::cuda {

// Whether the product of a and b uses the skinny kernel: at most 16 rows, bf16, b transposed, operands in whole 16-byte
// units. Otherwise it uses cuBLASLt.
bool takes_skinny(const GemmOperand& a, const GemmOperand& b);

// c = alpha a b + beta c by cuBLASLt for any shape: for the bench and for tests that compare the two.
void gemm_cublaslt(Context& ctx, const GemmOperand& a, const GemmOperand& b, const Tensor& c, float alpha = 1.0f,
                   float beta = 0.0f);

}  // namespace vpref::cuda
