// SPDX-License-Identifier: Apache-2.0
// LayerNorm over the last dimension, population variance (the CLIP vision tower).
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// y = (x - mean) * rstd * weight + bias.  x, y: [T,D] f32 or bf16; weight, bias: [D] any float dtype;
// mean_rstd: [T,2] f32 or null (needed by the backward).
void layer_norm(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias, float eps, const Tensor& y,
                const Tensor* mean_rstd);
VPREF_KERNELS(void, layer_norm, Context&, const Tensor&, const Tensor&, const Tensor&, float, const Tensor&,
              const Tensor*)

// Inputs and saved statistics of the forward.
struct LayerNormForward {
  Tensor x, weight, mean_rstd;
};

// dx = d/dx (+ dx if accumulate); dweight, dbias: [D] f32, summed into, both or neither null.
void layer_norm_backward(Context& ctx, const Tensor& dy, const LayerNormForward& forward, const Tensor& dx,
                         bool accumulate, const Tensor* dweight, const Tensor* dbias);
VPREF_KERNELS(void, layer_norm_backward, Context&, const Tensor&, const LayerNormForward&, const Tensor&, bool,
              const Tensor*, const Tensor*)

}  // namespace vpref
