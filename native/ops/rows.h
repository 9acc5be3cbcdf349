// SPDX-License-Identifier: Apache-2.0
// Moving rows: embedding look-up, gathering response rows, writing image rows; and the sums of their backward.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// y[i] = x[index[i]].  x: [V,D] any float dtype; index: [T] i32 in [0, V), -1 leaves y[i] unchanged; y: [T,D] f32 or
// bf16 (converted).
void gather_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y);
VPREF_KERNELS(void, gather_rows, Context&, const Tensor&, const Tensor&, const Tensor&)

// y[index[i]] = x[i]; index -1 is skipped; an index must not occur twice.  x: [T,D], y: [V,D], both f32 or bf16
// (converted).
void scatter_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y);
VPREF_KERNELS(void, scatter_rows, Context&, const Tensor&, const Tensor&, const Tensor&)

// y[index[i]] += x[i], in order of i (repeated indices add up); index -1 is skipped.  x: [T,D] f32 or bf16; y: [V,D]
// f32 or bf16.
void scatter_add_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y);
VPREF_KERNELS(void, scatter_add_rows, Context&, const Tensor&, const Tensor&, const Tensor&)

}  // namespace vpref
