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

// ProductKernels::pack of these rows at these k, at most Kernels::product's cols and depth of them.
void pack_packed(const Kernels& k, const PackedWeight& w, Range rows, Range depth, float* panel);

// ProductKernels::few for packed weights, with the bytes that it gives over them unpacked; any number of rows of x.
void packed_few(const Kernels& k, const PackedWeight& w, Rows<const float> x, int64_t rows, Range n, Rows<float> y);

// unpack_row, by the kernels.
void unpack_part(const Kernels& k, const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out);

}  // namespace vpref::cpu
