// SPDX-License-Identifier: Apache-2.0
// Log-probabilities of given tokens from a chunk of logits, and the gradient with respect to the logits.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// logp[r] = logits[r, target[r]] - logsumexp(logits[r, :]).
//   logits: [R,V] f32 or bf16; target: [R] i32; logp: [R] f32.
//   to_gradient: overwrites the logits with d logp / d logits = onehot(target) - softmax(logits). The weight in the
//     loss is one scalar per branch, known only after all sums; the caller scales the gradient rows by it. So the head
//     is read once in each direction.
void log_softmax_gather(Context& ctx, const Tensor& logits, const Tensor& target, const Tensor& logp,
                        bool to_gradient = false);
VPREF_KERNELS(void, log_softmax_gather, Context&, const Tensor&, const Tensor&, const Tensor&, bool)

}  // namespace vpref
