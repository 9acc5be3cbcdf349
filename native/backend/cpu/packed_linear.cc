// SPDX-License-Identifier: Apache-2.0
#include "ops/packed_linear.h"

#include <algorithm>

#include "backend/cpu/packed_products.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "backend/cpu/row_products.h"

namespace vpref::cpu {

void packed_linear(Context& ctx, const Tensor& x, const PackedWeight& w, const Tensor* bias, const Tensor& y,
                   float beta) {
  const LinearPart part{nullptr, &w, bias, y};
  row_products(ctx, x, {&part, 1}, 1.0f, beta);
}

void unpack_tile(Context& ctx, const PackedWeight& w, int64_t row, int64_t col, const Tensor& to) {
  const Kernels& k = kernels();
  const int64_t rows = to.dim(0), width = to.dim(1), lanes = k.lanes;
  const bool whole = row % lanes == 0 && rows % lanes == 0 && col % kScaledCodes == 0 && width % lanes == 0;
  if (w.interleaved && whole && to.dtype == DType::f32) {
    const int threads = threads_for(ctx, rows / lanes, lanes * width);
    return parallel_ranges(threads, rows / lanes, 1, [&](int, int64_t begin, int64_t end) {
      for (int64_t r = begin * lanes; r < end * lanes; r += lanes)
        unpack_rows(k, w, row + r, col, width, {reinterpret_cast<float*>(row_address(to, r)), to.stride[0]});
    });
  }
  parallel_ranges(threads_for(ctx, rows, width), rows, 1, [&](int, int64_t begin, int64_t end) {
    alignas(64) float piece[kPiece];
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < width; c += kPiece) {
        const int64_t n = std::min(kPiece, width - c);
        float* values = write_row(to, r, c, piece);
        unpack_part(k, w, row + r, col + c, n, values);
        finish_row(k, to, r, c, n, values);
      }
  });
}

}  // namespace vpref::cpu
