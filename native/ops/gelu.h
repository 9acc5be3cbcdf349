// SPDX-License-Identifier: Apache-2.0
// The GELU family (Hendrycks & Gimpel 2016, 1606.08415).
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// exact: x * Phi(x) by erf (the projector); quick: x * sigmoid(1.702 x) (CLIP); tanh: the tanh approximation (SigLIP).
enum class Gelu : uint8_t { exact, quick, tanh };

// x, y: [T,F] f32 or bf16; y may be x.
void gelu(Context& ctx, Gelu kind, const Tensor& x, const Tensor& y);
VPREF_KERNELS(void, gelu, Context&, Gelu, const Tensor&, const Tensor&)

// dx = dy * gelu'(x); dx may be dy.
void gelu_backward(Context& ctx, Gelu kind, const Tensor& dy, const Tensor& x, const Tensor& dx);
VPREF_KERNELS(void, gelu_backward, Context&, Gelu, const Tensor&, const Tensor&, const Tensor&)

}  // namespace vpref
