// SPDX-License-Identifier: Apache-2.0
// The product of linear layers, x w^T.
#pragma once
#include <span>

#include "core/context.h"
#include "ops/linear_stack.h"

namespace vpref::cpu {

// y = alpha x w^T (+ bias) + beta y for every part. The bytes of a row of y do not depend on the other rows, the other
// parts or the number of threads. Libraries do not guarantee that. The bytes of packed weights are those of x in f32.
void row_products(Context& ctx, const Tensor& x, std::span<const LinearPart> parts, float alpha, float beta);

}  // namespace vpref::cpu
