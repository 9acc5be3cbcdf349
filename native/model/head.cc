// SPDX-License-Identifier: Apache-2.0
#include "model/head.h"

#include <algorithm>

#include "model/linear.h"
#include "ops/elementwise.h"
#include "ops/gemm.h"
#include "ops/log_softmax.h"
#include "ops/rms_norm.h"
#include "ops/rows.h"

namespace vpref {

HeadActivations make_head_activations(const ModelConfig& config, int64_t num_targets, DType dtype, Arena& arena) {
  const int64_t d = config.text.hidden_size;
  return {.residual = arena.tensor(dtype, {num_targets, d}),
          .rstd = arena.tensor(DType::f32, {num_targets}),
          .normed = arena.tensor(dtype, {num_targets, d}),
          .dnormed = arena.tensor(dtype, {num_targets, d})};
}

void head_logps(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& x,
                const HeadTargets& targets, const HeadOutput& to, Arena& scratch) {
  const HeadActivations* saved = to.saved;
  const int64_t num_targets = targets.ids.dim(0), chunk_rows = targets.chunk_rows, d = config.text.hidden_size,
                v = config.text.vocab_size;
  const size_t mark = scratch.mark();
  const Tensor residual = saved ? saved->residual : scratch.tensor(x.dtype, {num_targets, d});
  const Tensor normed = saved ? saved->normed : scratch.tensor(x.dtype, {num_targets, d});
  gather_rows(ctx, x, targets.rows, residual);
  rms_norm(ctx, residual, weights.norm, config.text.rms_norm_eps, normed, saved ? &saved->rstd : nullptr);
  // Logits in f32 whatever the compute dtype: log-probabilities are differences of large numbers.
  const Tensor logits = scratch.tensor(DType::f32, {std::min(chunk_rows, num_targets), v});
  const LinearGrads frozen;
  const Tensor dlogits = saved && x.dtype != DType::f32 ? scratch.tensor(x.dtype, {logits.dim(0), v}) : logits;
  for (int64_t begin = 0; begin < num_targets; begin += chunk_rows) {
    const int64_t rows = std::min(chunk_rows, num_targets - begin);
    const Tensor chunk = logits.rows(0, rows);
    linear_forward(ctx, weights.lm_head, normed.rows(begin, rows), chunk, scratch);
    log_softmax_gather(ctx, chunk, targets.ids.rows(begin, rows), to.logps.rows(begin, rows),
                       /*to_gradient=*/saved != nullptr);
    if (!saved) continue;
    if (x.dtype != DType::f32) convert(ctx, chunk, dlogits.rows(0, rows));
    const Tensor dnormed = saved->dnormed.rows(begin, rows);
    linear_backward(ctx, weights.lm_head, dlogits.rows(0, rows), normed.rows(begin, rows), &dnormed, frozen, scratch);
  }
  scratch.release(mark);
}

void head_logps_backward(Context& ctx, const Weights& weights, const HeadTargets& targets, const Tensor& row_weight,
                         const HeadActivations& saved, const HeadGrads& grads, Arena& scratch) {
  const Tensor& dx = grads.x;
  const int64_t num_targets = targets.ids.dim(0), chunk_rows = targets.chunk_rows;
  const size_t mark = scratch.mark();
  if (grads.lm_head) {
    const int64_t v = grads.lm_head.dim(0);
    const Tensor logits = scratch.tensor(DType::f32, {std::min(chunk_rows, num_targets), v});
    const Tensor dlogits = dx.dtype != DType::f32 ? scratch.tensor(dx.dtype, {logits.dim(0), v}) : logits;
    const Tensor logps = scratch.tensor(DType::f32, {num_targets});
    for (int64_t begin = 0; begin < num_targets; begin += chunk_rows) {
      const int64_t rows = std::min(chunk_rows, num_targets - begin);
      const Tensor chunk = logits.rows(0, rows);
      linear_forward(ctx, weights.lm_head, saved.normed.rows(begin, rows), chunk, scratch);
      log_softmax_gather(ctx, chunk, targets.ids.rows(begin, rows), logps.rows(begin, rows), /*to_gradient=*/true);
      scale_rows(ctx, row_weight.rows(begin, rows), chunk);
      if (dx.dtype != DType::f32) convert(ctx, chunk, dlogits.rows(0, rows));
      linear_backward_weight(ctx, dlogits.rows(0, rows), saved.normed.rows(begin, rows), grads.lm_head, nullptr);
    }
  }
  scale_rows(ctx, row_weight, saved.dnormed);
  const Tensor dresidual = scratch.tensor(dx.dtype, {num_targets, dx.dim(1)});
  rms_norm_backward(ctx, saved.dnormed, {saved.residual, weights.norm, saved.rstd}, dresidual, /*accumulate=*/false,
                    grads.norm ? &grads.norm : nullptr);
  scatter_add_rows(ctx, dresidual, targets.rows, dx);
  scratch.release(mark);
}

}  // namespace vpref
