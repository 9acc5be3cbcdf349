// SPDX-License-Identifier: Apache-2.0
// The product of linear layers, x w^T.
#pragma once
#include "core/context.h"
#include "core/packed_weight.h"
#include "core/tensor.h"

namespace vpref::cpu {

// y = alpha x w^T (+ bias, of any float dtype) + beta y. The bytes of a row of y do not depend on the other rows or on
// the number of threads. Libraries do not guarantee that.
void row_products(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y, float alpha,
                  float beta);
// The same for packed weights. The bytes are those of f32 weights with x in f32.
void row_products(Context& ctx, const Tensor& x, const PackedWeight& weight, const Tensor* bias, const Tensor& y,
                  float beta);

}  // namespace vpref::cpu
