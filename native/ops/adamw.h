// SPDX-License-Identifier: Apache-2.0
// AdamW over a flat buffer (Loshchilov & Hutter 2019, 1711.05101 alg. 2; torch.optim.AdamW's operation order), and the
// gradient norm.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

struct AdamW {
  double lr;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
  int64_t step = 1;         // 1-based, for the bias corrections
  float grad_scale = 1.0f;  // clip factor and 1 / accumulation, applied to the gradient first
};

// One step. param (master), grad, m, v: [n] f32; copy: [n] bf16 compute copy of param, or null.
void adamw(Context& ctx, const AdamW& options, const Tensor& param, const Tensor& grad, const Tensor& m,
           const Tensor& v, const Tensor* copy);
VPREF_KERNELS(void, adamw, Context&, const AdamW&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
              const Tensor*)

// Sum of squares of a flat f32 buffer, in double with a fixed order: the same bytes for any number of threads. Not
// finite if any element is not.
double sum_of_squares(Context& ctx, const Tensor& x);
VPREF_KERNELS(double, sum_of_squares, Context&, const Tensor&)

}  // namespace vpref
