// SPDX-License-Identifier: Apache-2.0
#include "ops/log_softmax.h"

#include <cmath>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {
namespace {

constexpr int64_t kVocabPiece = 4096;

// logits[r] becomes onehot(target) - softmax.
void write_gradient(const Kernels& k, const Tensor& logits, int64_t r, int32_t target, float max, double sum,
                    float* scratch) {
  const int64_t v = logits.dim(1);
  const float factor = float(-1.0 / sum);
  for (int64_t c = 0; c < v; c += kVocabPiece) {
    const int64_t n = std::min(kVocabPiece, v - c);
    const float* in = read_row(k, logits, r, c, n, scratch);
    float* out = write_row(logits, r, c, scratch);
    k.exp_scaled(in, max, 1.0f, factor, out, n);
    if (target >= c && target < c + n) out[target - c] += 1.0f;
    finish_row(k, logits, r, c, n, out);
  }
}

}  // namespace

void log_softmax_gather(Context& ctx, const Tensor& logits, const Tensor& target, const Tensor& logp,
                        bool to_gradient) {
  const Kernels& k = kernels();
  const int64_t v = logits.dim(1);
  const int threads = threads_for(ctx, logits.dim(0), v);
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads) * kVocabPiece * sizeof(float)));
  parallel_ranges(threads, logits.dim(0), 1, [&](int thread, int64_t begin, int64_t end) {
    float* mine = scratch + thread * kVocabPiece;
    for (int64_t r = begin; r < end; ++r) {
      const int32_t id = target.as<int32_t>()[r];
      float max = -INFINITY;
      double sum = 0;
      for (int64_t c = 0; c < v; c += kVocabPiece) {
        const int64_t n = std::min(kVocabPiece, v - c);
        max = std::max(max, k.max(read_row(k, logits, r, c, n, mine), n));
      }
      for (int64_t c = 0; c < v; c += kVocabPiece) {
        const int64_t n = std::min(kVocabPiece, v - c);
        sum += k.sum_exp(read_row(k, logits, r, c, n, mine), max, 1.0f, n);
      }
      const float picked = *read_row(k, logits, r, id, 1, mine);
      logp.as<float>()[r] = float(double(picked) - double(max) - std::log(sum));
      if (to_gradient) write_gradient(k, logits, r, id, max, sum, mine);
    }
  });
}

}  // namespace vpref::cpu
