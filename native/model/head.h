// SPDX-License-Identifier: Apache-2.0
// The final norm and the output matrix over the rows that are scored, forward and backward. R scored rows, T packed
// rows, D hidden, V vocabulary.
#pragma once
#include "core/arena.h"
#include "model/model.h"

namespace vpref {

// What the head's backward needs; R rows.
struct HeadActivations {
  Tensor residual;  // [R,D] the gathered rows
  Tensor rstd;      // [R] f32
  Tensor normed;    // [R,D]
  Tensor dnormed;   // [R,D] d logp / d normed: one row each, not yet weighted
};

HeadActivations make_head_activations(const ModelConfig& config, int64_t num_targets, DType dtype, Arena& arena);

// The tokens that are scored: the row of each in x and its id, [R] i32 on the device; `chunk_rows` of them meet the
// head at a time, so that full logits are never kept.
struct HeadTargets {
  Tensor rows, ids;
  int64_t chunk_rows;
};

// logps: [R] f32 on the device. saved: also prepares the backward (dnormed), so the head is read once each way; or
// null.
struct HeadOutput {
  Tensor logps;
  const HeadActivations* saved = nullptr;
};

// logps[i] = log p(ids[i] | row rows[i]) of x[T,D]. Only these rows meet the final norm and the head.
void head_logps(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& x,
                const HeadTargets& targets, const HeadOutput& to, Arena& scratch);

// x: [T,D], summed into. norm [D], lm_head [V,D]: gradients in full fine-tuning, empty when frozen (the head's needs a
// second pass over the logits, since the weights were not known in the first).
struct HeadGrads {
  Tensor x, norm, lm_head;
};

// The gradient of sum_i row_weight[i] * logps[i]. row_weight: [R] f32 on the device. saved.dnormed is overwritten.
void head_logps_backward(Context& ctx, const Weights& weights, const HeadTargets& targets, const Tensor& row_weight,
                         const HeadActivations& saved, const HeadGrads& grads, Arena& scratch);

}  // namespace vpref
