// SPDX-License-Identifier: Apache-2.0
#include "ops/rope.h"

#include <cmath>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {

void rope(Context& ctx, const Tensor& x, const Tensor& positions, const Tensor& inv_freq, bool inverse) {
  const Kernels& k = kernels();
  const int64_t heads = x.dim(1), d = x.dim(2), half = d / 2;
  const int threads = threads_for(ctx, x.dim(0), heads * d);
  const int64_t per_thread = padded(half) * 2 + padded(d);
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads * per_thread) * sizeof(float)));
  const float* frequency = inv_freq.as<float>();
  parallel_ranges(threads, x.dim(0), 1, [&](int thread, int64_t begin, int64_t end) {
    float* cosine = scratch + thread * per_thread;
    float* sine = cosine + padded(half);
    float* copy = sine + padded(half);
    for (int64_t t = begin; t < end; ++t) {
      const float position = float(positions.as<int32_t>()[t]);
      for (int64_t i = 0; i < half; ++i) {
        const float angle = position * frequency[i];
        cosine[i] = std::cos(angle);
        sine[i] = inverse ? -std::sin(angle) : std::sin(angle);
      }
      for (int64_t h = 0; h < heads; ++h) {
        float* row = const_cast<float*>(read_row(k, x, t, h * d, d, copy));
        k.rope(row, cosine, sine, half);
        finish_row(k, x, t, h * d, d, row);
      }
    }
  });
}

}  // namespace vpref::cpu
