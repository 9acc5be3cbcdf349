// SPDX-License-Identifier: Apache-2.0
// Sixteen rows of weights are unpacked into cache, a sum's depth at a time, and multiplied there.
#include "backend/cpu/packed_products.h"

#include <algorithm>

namespace vpref::cpu {

void unpack_rows(const PackedWeight& w, Range n, Range k, float* tile) {
  for (int64_t r = 0; r < n.count; ++r) unpack_row(w, n.first + r, k.first, k.count, tile + r * k.count);
}

void packed_few(const ProductKernels& kernel, const PackedWeight& w, Rows<const float> x, int64_t rows, int64_t n0,
                int64_t n1, Rows<float> y) {
  constexpr int64_t kCols = 16;
  alignas(64) float tile[kCols * kMaxDepth], sums[kMaxFewRows * kCols];
  const int64_t k = w.num_cols;
  for (int64_t n = n0; n < n1; n += kCols) {
    const int64_t count = std::min(kCols, n1 - n);
    for (int64_t first = 0; first == 0 || first < k; first += kernel.depth) {
      const int64_t depth = std::min(kernel.depth, k - first);
      unpack_rows(w, {n, count}, {first, depth}, tile);
      for (int64_t t = 0; t < rows; t += kernel.few_rows) {
        const int64_t some = std::min<int64_t>(kernel.few_rows, rows - t);
        kernel.few({x.data + t * x.stride + first, x.stride}, int(some), {tile, DType::f32, depth}, depth, 0, count,
                   {sums, kCols});
        for (int64_t i = 0; i < some; ++i) {
          float* to = y.data + (t + i) * y.stride + n;
          const float* from = sums + i * kCols;
          for (int64_t c = 0; c < count; ++c) to[c] = first == 0 ? from[c] : to[c] + from[c];
        }
      }
    }
  }
}

}  // namespace vpref::cpu
