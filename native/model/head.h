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

// logps[i] = log p(targets[i] | row target_rows[i]) of x[T,D]. Only these rows meet the final norm and the head,
// `chunk_rows` at a time: full logits are never kept. saved: also prepares the backward (dnormed), so the head is read
// once each way.
//   target_rows, targets: [R] i32 on the device; logps: [R] f32 on the device.
void head_logps(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& x,
                const Tensor& target_rows, const Tensor& targets, int64_t chunk_rows, const Tensor& logps,
                const HeadActivations* saved, Arena& scratch);

// dx[T,D] += the gradient of sum_i row_weight[i] * logps[i]. norm, lm_head: gradients in full fine-tuning, empty when
// frozen (the head's needs a second pass over the logits, since the weights were not known in the first).
//   row_weight: [R] f32 on the device. saved.dnormed is overwritten.
void head_logps_backward(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& target_rows,
                         const Tensor& targets, const Tensor& row_weight, int64_t chunk_rows,
                         const HeadActivations& saved, const Tensor& dx, const Tensor& norm_grad,
                         const Tensor& lm_head_grad, Arena& scratch);

}  // namespace vpref
