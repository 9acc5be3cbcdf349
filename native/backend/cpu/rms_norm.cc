// SPDX-License-Identifier: Apache-2.0
#include "ops/rms_norm.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {
namespace {

// [T,D] or [T,H,D]; a row is a head.
int64_t heads_of(const Tensor& x) { return x.rank == 3 ? x.dim(1) : 1; }

// Scratch rows per thread, after the converted weight.
struct Scratch {
  const float* weight;
  float* rows;
  int64_t d, per_thread;
  float* row(int thread, int i) const { return rows + (thread * per_thread + i) * d; }
};

Scratch make_scratch(Context& ctx, const Tensor& weight, int threads, int rows) {
  const int64_t d = padded(weight.dim(0));
  float* memory = static_cast<float*>(ctx.workspace.get(size_t(d * (1 + threads * rows)) * sizeof(float)));
  return {read_vector(kernels(), weight, memory), memory + d, d, rows};
}

// delta and sum are empty without an addition.
void norm_rows(Context& ctx, const ResidualAdd& residual, const Tensor& weight, float eps, const Tensor& y,
               const Tensor* rstd) {
  const Tensor& x = residual.x;
  const Kernels& k = kernels();
  const int64_t tokens = x.dim(0), heads = heads_of(x), d = weight.dim(0);
  const int threads = threads_for(ctx, tokens, heads * d);
  const Scratch scratch = make_scratch(ctx, weight, threads, 3);
  parallel_ranges(threads, tokens, 1, [&](int thread, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t col = h * d;
        const float* in = read_row(k, x, t, col, d, scratch.row(thread, 0));
        if (residual.delta) {
          float* total = write_row(residual.sum, t, col, scratch.row(thread, 0));
          if (total != in) std::copy_n(in, d, total);
          k.add_scaled(read_row(k, residual.delta, t, col, d, scratch.row(thread, 1)), 1.0f, total, d);
          finish_row(k, residual.sum, t, col, d, total);
          in = read_row(k, residual.sum, t, col, d, total);  // as stored
        }
        const float r = 1.0f / std::sqrt(k.sum_squares(in, d) / float(d) + eps);
        float* out = write_row(y, t, col, scratch.row(thread, 2));
        k.scale_weight(in, r, scratch.weight, out, d);
        finish_row(k, y, t, col, d, out);
        if (rstd) rstd->as<float>()[h * tokens + t] = r;
      }
  });
}

}  // namespace

void rms_norm(Context& ctx, const Tensor& x, const Tensor& weight, float eps, const Tensor& y, const Tensor* rstd) {
  norm_rows(ctx, {x}, weight, eps, y, rstd);
}

void add_rms_norm(Context& ctx, const ResidualAdd& residual, const Tensor& weight, float eps, const Tensor& y,
                  const Tensor* rstd) {
  norm_rows(ctx, residual, weight, eps, y, rstd);
}

// With xhat = x rstd: dx = rstd (dy w - xhat mean(dy w xhat)); dweight = sum over rows of dy xhat.
void rms_norm_backward(Context& ctx, const Tensor& dy, const RmsNormForward& forward, const Tensor& dx, bool accumulate,
                       const Tensor* dweight) {
  const Kernels& k = kernels();
  const Tensor& x = forward.x;
  const int64_t tokens = x.dim(0), heads = heads_of(x), d = forward.weight.dim(0);
  const float* r = forward.rstd.as<float>();
  if (dweight) {  // columns are split over threads; rows are summed in order
    const int threads = threads_for(ctx, (d + kPiece / 8 - 1) / (kPiece / 8), tokens * heads * kPiece / 8);
    float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads) * 2 * kPiece * sizeof(float)));
    parallel_ranges(threads, d, 16, [&](int thread, int64_t begin, int64_t end) {
      float* mine = scratch + thread * 2 * kPiece;
      for (int64_t c = begin; c < end; c += kPiece) {
        const int64_t n = std::min(kPiece, end - c);
        for (int64_t h = 0; h < heads; ++h)
          for (int64_t t = 0; t < tokens; ++t)
            k.norm_backward_weight(read_row(k, dy, t, h * d + c, n, mine),
                                   read_row(k, x, t, h * d + c, n, mine + kPiece), 0.0f, r[h * tokens + t],
                                   dweight->as<float>() + c, nullptr, n);
      }
    });
  }
  const int threads = threads_for(ctx, tokens, heads * d);
  const Scratch scratch = make_scratch(ctx, forward.weight, threads, 3);
  parallel_ranges(threads, tokens, 1, [&](int thread, int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t col = h * d;
        const float scale = r[h * tokens + t];
        const float* g = read_row(k, dy, t, col, d, scratch.row(thread, 0));
        const float* in = read_row(k, x, t, col, d, scratch.row(thread, 1));
        float* out = write_row(dx, t, col, scratch.row(thread, 2));
        if (accumulate && dx.dtype != DType::f32) read_row(k, dx, t, col, d, out);
        const float c1 = k.dot3(g, in, scratch.weight, d) * scale / float(d);
        k.norm_backward(g, in, scratch.weight, {0.0f, scale, 0.0f, c1}, out, accumulate, d);
        finish_row(k, dx, t, col, d, out);
      }
  });
}

}  // namespace vpref::cpu
