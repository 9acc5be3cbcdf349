// SPDX-License-Identifier: Apache-2.0
// SwiGLU product (Shazeer 2020, 2002.05202 eq. 6): silu(gate) * up.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// gate, up, y: [T,F] f32 or bf16, row strides free; y may be gate.
void swiglu(Context& ctx, const Tensor& gate, const Tensor& up, const Tensor& y);
VPREF_KERNELS(void, swiglu, Context&, const Tensor&, const Tensor&, const Tensor&)

// dgate, dup from dy and the saved inputs; dgate may be gate and dup may be up.
void swiglu_backward(Context& ctx, const Tensor& dy, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                     const Tensor& dup);
VPREF_KERNELS(void, swiglu_backward, Context&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
              const Tensor&)

}  // namespace vpref
