// SPDX-License-Identifier: Apache-2.0
// Dropout whose draws depend on their place alone, so that a backward, a resumed run, another micro-batch or rank has
// the same.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

struct DropoutMask {
  float p = 0;  // share that is dropped, in [0, 1)
  uint64_t seed = 0;
  uint32_t place = 0;  // which of the tensors that are dropped in one step
  // Words below this are dropped.
  uint32_t threshold() const { return uint32_t(double(p) * 0x1p32); }
  float scale() const { return float(1 / (1 - double(p))); }
};

// y = x / (1 - p) where kept, 0 where dropped; with `accumulate` added to y, where kept.
//   x, y: [T,K] f32 or bf16 of one dtype, rows may have gaps; rows: [T,2] i32, the words that tell a row from all
//   others.
// Element (t, k) is word k % 4 of Philox4x32-10 with key `seed` and counter (k / 4, place, rows[t,0], rows[t,1]).
// Source: Srivastava 2014, in the scaling of torch.nn.functional.dropout.
void dropout(Context& ctx, const Tensor& x, const Tensor& rows, const DropoutMask& mask, const Tensor& y,
             bool accumulate = false);
VPREF_KERNELS(void, dropout, Context&, const Tensor&, const Tensor&, const DropoutMask&, const Tensor&, bool)

}  // namespace vpref
