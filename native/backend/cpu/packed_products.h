// SPDX-License-Identifier: Apache-2.0
// Packed weights as the kernels of linear layers read them.
#pragma once
#include "backend/cpu/kernels.h"
#include "core/packed_weight.h"

namespace vpref::cpu {

// From `first` on.
struct Range {
  int64_t first, count;
};

// tile[n.count, k.count]: these rows at these k, f32.
void unpack_rows(const PackedWeight& w, Range n, Range k, float* tile);

// ProductKernels::few for packed weights, with the bytes that it gives over them unpacked; any number of rows.
void packed_few(const ProductKernels& kernel, const PackedWeight& w, Rows<const float> x, int64_t rows, int64_t n0,
                int64_t n1, Rows<float> y);

}  // namespace vpref::cpu
