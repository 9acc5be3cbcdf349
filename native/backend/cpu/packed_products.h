// SPDX-License-Identifier: Apache-2.0
// Packed weights as the kernels of linear layers read them.
#pragma once
#include "backend/cpu/kernels.h"
#include "core/packed_weight.h"

namespace vpref::cpu {

// tile[count, depth]: rows [n, n + count) at [first, first + depth), f32.
void unpack_rows(const PackedWeight& w, int64_t n, int64_t count, int64_t first, int64_t depth, float* tile);

// ProductKernels::few for packed weights, with the bytes that it gives over them unpacked; any number of rows. x: f32.
void packed_few(const ProductKernels& kernel, const PackedWeight& w, const float* x, int64_t ldx, int64_t rows,
                int64_t n0, int64_t n1, float* y, int64_t ldy);

}  // namespace vpref::cpu
