// SPDX-License-Identifier: Apache-2.0
// Elementwise sums, scaling and conversion.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// y += alpha * x.  Same shape, rank 1 or 2, any row strides; any mix of f32 and bf16, summed in f32.
void add(Context& ctx, const Tensor& x, const Tensor& y, float alpha = 1.0f);
VPREF_KERNELS(void, add, Context&, const Tensor&, const Tensor&, float)

// y = x in y's dtype (f32, bf16, f16 on either side), round to nearest even.
void convert(Context& ctx, const Tensor& x, const Tensor& y);
VPREF_KERNELS(void, convert, Context&, const Tensor&, const Tensor&)

// x[t,:] *= row_scale[t].  x: [T,D] f32 or bf16; row_scale: [T] f32.
void scale_rows(Context& ctx, const Tensor& row_scale, const Tensor& x);
VPREF_KERNELS(void, scale_rows, Context&, const Tensor&, const Tensor&)

// x = value. f32 or bf16, dense.
void fill(Context& ctx, float value, const Tensor& x);
VPREF_KERNELS(void, fill, Context&, float, const Tensor&)

}  // namespace vpref
