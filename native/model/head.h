// SPDX-License-Identifier: Apache-2.0
// The final norm and the output matrix, applied to scored rows only; forward and backward. R scored rows, T packed
// rows, D hidden, V vocabulary.
#pragma once
#include "core/arena.h"
#include "model/model.h"

namespace vpref {

// Tensors for the head's backward; R rows.
struct HeadActivations {
  Tensor residual;  // [R,D] the gathered rows
  Tensor rstd;      // [R] f32
  Tensor normed;    // [R,D]
  Tensor dnormed;   // [R,D] d logp / d normed, before the weighting by the loss
};

HeadActivations make_head_activations(const ModelConfig& config, int64_t num_targets, DType dtype, Arena& arena);

// The scored tokens: the row of x that predicts each, and its id, [R] i32 on the device. The head processes
// `chunk_rows` rows at a time, so full logits are never stored.
struct HeadTargets {
  Tensor rows, ids;
  int64_t chunk_rows;
};

// logps: [R] f32 on the device. saved: also computes dnormed, so the head is read once in each direction; or null.
struct HeadOutput {
  Tensor logps;
  const HeadActivations* saved = nullptr;
};

// logps[i] = log p(ids[i] | row rows[i]) of x[T,D]. Only these rows go through the final norm and the head.
void head_logps(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& x,
                const HeadTargets& targets, const HeadOutput& to, Arena& scratch);

// x: [T,D], summed into. norm [D], lm_head [V,D]: gradients for full fine-tuning, empty if frozen. The gradient of
// lm_head needs a second pass over the logits, because the row weights are not known in the first.
struct HeadGrads {
  Tensor x, norm, lm_head;
};

// The gradient of sum_i row_weight[i] * logps[i]. row_weight: [R] f32 on the device. Overwrites saved.dnormed.
void head_logps_backward(Context& ctx, const Weights& weights, const HeadTargets& targets, const Tensor& row_weight,
                         const HeadActivations& saved, const HeadGrads& grads, Arena& scratch);

}  // namespace vpref
