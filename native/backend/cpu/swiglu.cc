// SPDX-License-Identifier: Apache-2.0
#include "ops/swiglu.h"

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {

void swiglu(Context& ctx, const Tensor& gate, const Tensor& up, const Tensor& y) {
  const Kernels& k = kernels();
  const int64_t f = gate.dim(1), pieces = (f + kPiece - 1) / kPiece;
  const int threads = threads_for(ctx, gate.dim(0) * pieces, std::min(f, kPiece));
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads) * 3 * kPiece * sizeof(float)));
  parallel_ranges(threads, gate.dim(0) * pieces, 1, [&](int thread, int64_t begin, int64_t end) {
    float* mine = scratch + thread * 3 * kPiece;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = i / pieces, c = i % pieces * kPiece, n = std::min(kPiece, f - c);
      float* out = write_row(y, t, c, mine + 2 * kPiece);
      k.swiglu(read_row(k, gate, t, c, n, mine), read_row(k, up, t, c, n, mine + kPiece), out, n);
      finish_row(k, y, t, c, n, out);
    }
  });
}

void swiglu_backward(Context& ctx, const Tensor& dy, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                     const Tensor& dup) {
  const Kernels& k = kernels();
  const int64_t f = gate.dim(1), pieces = (f + kPiece - 1) / kPiece;
  const int threads = threads_for(ctx, gate.dim(0) * pieces, std::min(f, kPiece));
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads) * 5 * kPiece * sizeof(float)));
  parallel_ranges(threads, gate.dim(0) * pieces, 1, [&](int thread, int64_t begin, int64_t end) {
    float* mine = scratch + thread * 5 * kPiece;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = i / pieces, c = i % pieces * kPiece, n = std::min(kPiece, f - c);
      float* dg = write_row(dgate, t, c, mine + 3 * kPiece);
      float* du = write_row(dup, t, c, mine + 4 * kPiece);
      k.swiglu_backward(read_row(k, dy, t, c, n, mine), read_row(k, gate, t, c, n, mine + kPiece),
                        read_row(k, up, t, c, n, mine + 2 * kPiece), dg, du, n);
      finish_row(k, dgate, t, c, n, dg);
      finish_row(k, dup, t, c, n, du);
    }
  });
}

}  // namespace vpref::cpu
