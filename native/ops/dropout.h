// SPDX-License-Identifier: Apache-2.0
// Dropout whose mask depends only on seed, tensor, row and column. So a backward, a resumed run, another micro-batch
// and another rank use the same mask.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

struct DropoutMask {
  float p = 0;  // probability of dropping, in [0, 1)
  uint64_t seed = 0;
  uint32_t place = 0;  // which of the step's tensors
  // An element is dropped if its random word is below this.
  uint32_t threshold() const { return uint32_t(double(p) * 0x1p32); }
  float scale() const { return float(1 / (1 - double(p))); }
};

// y = x / (1 - p) where kept, 0 where dropped; with `accumulate`, kept elements are added to y.
//   x, y: [T,K] f32 or bf16, of one dtype, rows may be strided; rows: [T,2] i32, the words that identify a row.
// Element (t, k) is word k % 4 of Philox4x32-10 with key `seed` and counter (k / 4, place, rows[t,0], rows[t,1]).
// Source: Srivastava 2014, scaled as torch.nn.functional.dropout.
void dropout(Context& ctx, const Tensor& x, const Tensor& rows, const DropoutMask& mask, const Tensor& y,
             bool accumulate = false);
VPREF_KERNELS(void, dropout, Context&, const Tensor&, const Tensor&, const DropoutMask&, const Tensor&, bool)

}  // namespace vpref
