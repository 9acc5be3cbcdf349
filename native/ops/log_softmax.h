// SPDX-License-Identifier: Apache-2.0
// Log-probabilities of given tokens from a chunk of logits, and the gradient that goes back through the head.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// logp[r] = logits[r, target[r]] - logsumexp(logits[r, :]).
//   logits: [R,V] f32 or bf16; target: [R] i32; logp: [R] f32.
//   to_gradient: logits are overwritten in place by d logp / d logits = onehot(target) - softmax(logits); the loss's
//   weight is one scalar per branch, known only when all sums are, so the caller scales the rows it makes from this
//   (performance: one head pass each way).
void log_softmax_gather(Context& ctx, const Tensor& logits, const Tensor& target, const Tensor& logp,
                        bool to_gradient = false);
VPREF_KERNELS(void, log_softmax_gather, Context&, const Tensor&, const Tensor&, const Tensor&, bool)

}  // namespace vpref
