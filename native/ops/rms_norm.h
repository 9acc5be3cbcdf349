// SPDX-License-Identifier: Apache-2.0
// RMSNorm (Zhang & Sennrich 2019, 1910.07467 eq. 4), optionally fused with the residual addition before it.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// y = x * rstd * weight, rstd = 1 / sqrt(mean(x^2) + eps).
//   x, y: [T,D] f32 or bf16; weight: [D] any float dtype; rstd: [T] f32 or null (needed by the backward).
//   Or per head: x, y: [T,H,D], each head normalised alone with the one weight [D]; rstd: [H,T]. y may be x.
void rms_norm(Context& ctx, const Tensor& x, const Tensor& weight, float eps, const Tensor& y, const Tensor* rstd);
VPREF_KERNELS(void, rms_norm, Context&, const Tensor&, const Tensor&, float, const Tensor&, const Tensor*)

// A residual addition, sum = x + delta. sum: [T,D] of x's dtype; may be x.
struct ResidualAdd {
  Tensor x, delta, sum;
};

// The addition, then y = rms_norm(sum) of the stored sum, in one pass over memory.
void add_rms_norm(Context& ctx, const ResidualAdd& residual, const Tensor& weight, float eps, const Tensor& y,
                  const Tensor* rstd);
VPREF_KERNELS(void, add_rms_norm, Context&, const ResidualAdd&, const Tensor&, float, const Tensor&, const Tensor*)

// Inputs and saved statistics of the forward.
struct RmsNormForward {
  Tensor x, weight, rstd;
};

// dx = d/dx (+ dx if accumulate); dweight: [D] f32, summed into, or null for a frozen weight. dx may be dy. Also per
// head.
void rms_norm_backward(Context& ctx, const Tensor& dy, const RmsNormForward& forward, const Tensor& dx, bool accumulate,
                       const Tensor* dweight);
VPREF_KERNELS(void, rms_norm_backward, Context&, const Tensor&, const RmsNormForward&, const Tensor&, bool,
              const Tensor*)

}  // namespace vpref
