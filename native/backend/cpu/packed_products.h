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

// Scales of a panel of pack_packed: one per kScaledCodes of k and row, or one per row.
constexpr int64_t kMaxPanelScales = kMaxDepth / kScaledCodes * kMaxPanelCols;

// As ProductKernels::pack, for these rows and these k: at most the cols and depth of `kernel`. Returns how many k share
// a scale, and writes the panel's scales, [k / that][cols]; 0: the panel is scaled already. Weights that are not
// interleaved: f32 only.
int64_t pack_packed(const Kernels& k, const ProductKernels& kernel, const PackedWeight& w, Range rows, Range depth,
                    void* panel, float* scales);

// y[t, n] for all rows of x: the same bytes as by panels of pack_packed.
void packed_skinny(const Kernels& k, const ProductKernels& kernel, const PackedWeight& w, Rows<const char> x,
                   int64_t rows, Range n, Rows<float> y);

// unpack_row of Kernels::lanes rows of an interleaved weight; row and count are multiples of that, col of
// kScaledCodes.
void unpack_rows(const Kernels& k, const PackedWeight& w, int64_t row, int64_t col, int64_t count, Rows<float> y);

// unpack_row, by the kernels.
void unpack_part(const Kernels& k, const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out);

}  // namespace vpref::cpu
