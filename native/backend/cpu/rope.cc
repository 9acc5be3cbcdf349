// SPDX-License-Identifier: Apache-2.0
#include "ops/rope.h"

#include <cmath>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "ops/rows.h"

namespace vpref::cpu {

void rope(Context& ctx, const Tensor& x, const Rotation& rotation, bool inverse) {
  const Kernels& k = kernels();
  const int64_t heads = x.dim(1), d = x.dim(2), half = d / 2;
  const int threads = threads_for(ctx, x.dim(0), heads * d);
  const int64_t per_thread = padded(half) * 2 + padded(d);
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads * per_thread) * sizeof(float)));
  const float* frequency = rotation.inv_freq.as<float>();
  const int32_t *positions = rotation.positions.as<int32_t>(),
                *axis = rotation.axis ? rotation.axis.as<int32_t>() : nullptr;
  parallel_ranges(threads, x.dim(0), 1, [&](int thread, int64_t begin, int64_t end) {
    float* cosine = scratch + thread * per_thread;
    float* sine = cosine + padded(half);
    float* copy = sine + padded(half);
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = 0; i < half; ++i) {
        const float angle = float(positions[axis ? axis[i] * x.dim(0) + t : t]) * frequency[i];
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

void rope_to_cache(Context& ctx, const Tensor& qkv, const Rotation& rotation, const Tensor& kv_rows, const Tensor& keys,
                   const Tensor& values) {
  const int64_t kv_heads = keys.dim(1), kv = kv_heads * qkv.dim(2), all = qkv.dim(1) * qkv.dim(2);
  const Tensor row = qkv.joined();
  cpu::rope(ctx, row.cols(0, all - kv).heads(qkv.dim(1) - kv_heads), rotation, /*inverse=*/false);
  cpu::scatter_rows(ctx, row.cols(all - 2 * kv, kv), kv_rows, keys.joined());
  cpu::scatter_rows(ctx, row.cols(all - kv, kv), kv_rows, values.joined());
}

}  // namespace vpref::cpu
