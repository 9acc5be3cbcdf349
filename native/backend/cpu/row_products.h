// SPDX-License-Identifier: Apache-2.0
// The product of linear layers, x w^T.
#pragma once
#include "core/context.h"
#include "core/packed_weight.h"
#include "core/tensor.h"

namespace vpref::cpu {

// y = alpha x w^T (+ bias, of any float dtype) + beta y. A row of y has the same bytes whatever rows stand beside it
// and whatever the number of threads; libraries promise neither.
void row_products(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y, float alpha,
                  float beta);
// With the bytes of the same over the weights as f32 and x as f32.
void row_products(Context& ctx, const Tensor& x, const PackedWeight& weight, const Tensor* bias, const Tensor& y,
                  float beta);

}  // namespace vpref::cpu
