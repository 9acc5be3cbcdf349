// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding (Su et al. 2021, 2104.09864), half-split layout as Llama checkpoints store it.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// Rotates x in place: pairs (i, i + D/2) of each head by angle position * inv_freq[i].
//   x: [T,H,D] f32 or bf16, rows may be strided; positions: [1,T] i32 (families with several position rows name their sections when they come);
//   inv_freq: [D/2] f32, scaling already applied; angles in f32 as transformers computes them.
//   inverse: rotate by the negative angle, which is the backward.
void rope(Context& ctx, const Tensor& x, const Tensor& positions, const Tensor& inv_freq, bool inverse = false);
VPREF_KERNELS(void, rope, Context&, const Tensor&, const Tensor&, const Tensor&, bool)

}  // namespace vpref
