// SPDX-License-Identifier: Apache-2.0
#include "ops/gelu.h"

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {

void gelu(Context& ctx, Gelu kind, const Tensor& x, const Tensor& y) {
  const Kernels& k = kernels();
  const int64_t f = x.dim(1), pieces = (f + kPiece - 1) / kPiece;
  const int threads = threads_for(ctx, x.dim(0) * pieces, std::min(f, kPiece));
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads) * 2 * kPiece * sizeof(float)));
  parallel_ranges(threads, x.dim(0) * pieces, 1, [&](int thread, int64_t begin, int64_t end) {
    float* mine = scratch + thread * 2 * kPiece;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = i / pieces, c = i % pieces * kPiece, n = std::min(kPiece, f - c);
      float* out = write_row(y, t, c, mine + kPiece);
      k.gelu(kind, read_row(k, x, t, c, n, mine), out, n);
      finish_row(k, y, t, c, n, out);
    }
  });
}

void gelu_backward(Context& ctx, Gelu kind, const Tensor& dy, const Tensor& x, const Tensor& dx) {
  const Kernels& k = kernels();
  const int64_t f = x.dim(1), pieces = (f + kPiece - 1) / kPiece;
  const int threads = threads_for(ctx, x.dim(0) * pieces, std::min(f, kPiece));
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads) * 3 * kPiece * sizeof(float)));
  parallel_ranges(threads, x.dim(0) * pieces, 1, [&](int thread, int64_t begin, int64_t end) {
    float* mine = scratch + thread * 3 * kPiece;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = i / pieces, c = i % pieces * kPiece, n = std::min(kPiece, f - c);
      float* out = write_row(dx, t, c, mine + 2 * kPiece);
      k.gelu_backward(kind, read_row(k, dy, t, c, n, mine), read_row(k, x, t, c, n, mine + kPiece), out, n);
      finish_row(k, dx, t, c, n, out);
    }
  });
}

}  // namespace vpref::cpu
