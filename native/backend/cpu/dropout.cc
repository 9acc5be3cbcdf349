// SPDX-License-Identifier: Apache-2.0
#include "ops/dropout.h"

#include <algorithm>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "core/philox.h"

namespace vpref::cpu {

void dropout(Context& ctx, const Tensor& x, const Tensor& rows, const DropoutMask& mask, const Tensor& y,
             bool accumulate) {
  const Kernels& kernel = kernels();
  const int64_t d = x.dim(1), pieces = (d + kPiece - 1) / kPiece;
  const uint32_t threshold = mask.threshold();
  const float scale = mask.scale();
  // A random word costs about as much as eight additions.
  const int threads = threads_for(ctx, x.dim(0) * pieces, 8 * std::min(d, kPiece));
  parallel_ranges(threads, x.dim(0) * pieces, 1, [&](int, int64_t begin, int64_t end) {
    alignas(64) float in[kPiece], out[kPiece], sum[kPiece];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = i / pieces, c = i % pieces * kPiece, n = std::min(kPiece, d - c);
      const float* from = read_row(kernel, x, t, c, n, in);
      const auto* row = reinterpret_cast<const uint32_t*>(rows.as<int32_t>()) + 2 * t;
      for (int64_t k = 0; k < n; k += 4) {
        const auto words = philox4x32(mask.seed, {uint32_t((c + k) / 4), mask.place, row[0], row[1]});
        for (int64_t j = 0; j < std::min<int64_t>(4, n - k); ++j)
          out[k + j] = words[size_t(j)] < threshold ? 0 : scale * from[k + j];
      }
      if (accumulate) kernel.add_scaled(read_row(kernel, y, t, c, n, sum), 1, out, n);
      kernel.from_f32(out, row_address(y, t, c), y.dtype, n);
    }
  });
}

}  // namespace vpref::cpu
