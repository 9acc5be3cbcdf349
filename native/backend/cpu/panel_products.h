// SPDX-License-Identifier: Apache-2.0
// Products of many rows: weights are packed into panels. A block of them stays in the second-level cache, and panels of
// x pass through the first-level cache.
#pragma once
#include <span>

#include "backend/cpu/row_product.h"

namespace vpref::cpu {

// y of every product. x is packed once for all.
void panel_products(Context& ctx, const Kernels& k, const ProductKernels& kernel, const Tensor& x,
                    std::span<const Product> products);

}  // namespace vpref::cpu
