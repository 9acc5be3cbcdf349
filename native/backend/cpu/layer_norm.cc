// SPDX-License-Identifier: Apache-2.0
#include "ops/layer_norm.h"

#include <cmath>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {

void layer_norm(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias, float eps, const Tensor& y,
                const Tensor* mean_rstd) {
  const Kernels& k = kernels();
  const int64_t d = x.dim(1), wide = padded(d);
  const int threads = threads_for(ctx, x.dim(0), d);
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(wide * (2 + 2 * threads)) * sizeof(float)));
  const float* w = read_vector(k, weight, scratch);
  const float* b = read_vector(k, bias, scratch + wide);
  parallel_ranges(threads, x.dim(0), 1, [&](int thread, int64_t begin, int64_t end) {
    float* mine = scratch + (2 + 2 * thread) * wide;
    for (int64_t t = begin; t < end; ++t) {
      const float* in = read_row(k, x, t, 0, d, mine);
      const float mean = k.sum(in, d) / float(d);
      const float r = 1.0f / std::sqrt(k.centered_sum_squares(in, mean, d) / float(d) + eps);
      float* out = write_row(y, t, 0, mine + wide);
      k.normalize(in, mean, r, w, b, out, d);
      finish_row(k, y, t, 0, d, out);
      if (!mean_rstd) continue;
      mean_rstd->as<float>()[2 * t] = mean;
      mean_rstd->as<float>()[2 * t + 1] = r;
    }
  });
}

// With xhat = (x - mean) rstd: dx = rstd (dy w - mean(dy w) - xhat mean(dy w xhat)).
void layer_norm_backward(Context& ctx, const Tensor& dy, const LayerNormForward& forward, const Tensor& dx,
                         bool accumulate, const Tensor* dweight, const Tensor* dbias) {
  const Kernels& k = kernels();
  const Tensor& x = forward.x;
  const int64_t rows = x.dim(0), d = x.dim(1), wide = padded(d);
  const float* stats = forward.mean_rstd.as<float>();
  if (dweight) {  // columns are split over threads; rows are summed in order
    const int threads = threads_for(ctx, (d + kPiece / 8 - 1) / (kPiece / 8), rows * kPiece / 8);
    float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads) * 2 * kPiece * sizeof(float)));
    parallel_ranges(threads, d, 16, [&](int thread, int64_t begin, int64_t end) {
      float* mine = scratch + thread * 2 * kPiece;
      for (int64_t c = begin; c < end; c += kPiece) {
        const int64_t n = std::min(kPiece, end - c);
        for (int64_t t = 0; t < rows; ++t)
          k.norm_backward_weight(read_row(k, dy, t, c, n, mine), read_row(k, x, t, c, n, mine + kPiece), stats[2 * t],
                                 stats[2 * t + 1], dweight->as<float>() + c, dbias->as<float>() + c, n);
      }
    });
  }
  const int threads = threads_for(ctx, rows, d);
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(wide * (1 + 3 * threads)) * sizeof(float)));
  const float* w = read_vector(k, forward.weight, scratch);
  parallel_ranges(threads, rows, 1, [&](int thread, int64_t begin, int64_t end) {
    float* mine = scratch + (1 + 3 * thread) * wide;
    for (int64_t t = begin; t < end; ++t) {
      const float mean = stats[2 * t], r = stats[2 * t + 1];
      const float* g = read_row(k, dy, t, 0, d, mine);
      const float* in = read_row(k, x, t, 0, d, mine + wide);
      float* out = write_row(dx, t, 0, mine + 2 * wide);
      if (accumulate && dx.dtype != DType::f32) read_row(k, dx, t, 0, d, out);
      const float c0 = k.dot(g, w, d) / float(d);
      const float c1 = (k.dot3(g, in, w, d) / float(d) - mean * c0) * r;
      k.norm_backward(g, in, w, {mean, r, c0, c1}, out, accumulate, d);
      finish_row(k, dx, t, 0, d, out);
    }
  });
}

}  // namespace vpref::cpu
