// SPDX-License-Identifier: Apache-2.0
// Packed weights as input of the linear layers' kernels.
#pragma once
#include "backend/cpu/kernels.h"
#include "core/packed_weight.h"

namespace vpref::cpu {

// A range of `count` from `first`.
struct Range {
  int64_t first, count;
};

// As ProductKernels::pack, for these rows and these k: at most the cols and depth of Kernels::product.
void pack_packed(const Kernels& k, const PackedWeight& w, Range rows, Range depth, float* panel);

// As ProductKernels::skinny over the unpacked weights, with the same bytes; any number of rows of x.
void packed_skinny(const Kernels& k, const PackedWeight& w, Rows<const float> x, int64_t rows, Range n, Rows<float> y);

// unpack_row, by the kernels.
void unpack_part(const Kernels& k, const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out);

}  // namespace vpref::cpu
