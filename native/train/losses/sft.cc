// SPDX-License-Identifier: Apache-2.0
// Negative log-likelihood of the chosen (or only) response. The step averages over tokens, so a record returns its sum.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue sft_loss(const Preference& p, const LossOptions&) {
  LossValue out;
  out.loss = -p.chosen.policy;
  out.d_chosen = -1;
  out.d_rejected.assign(p.rejected.size(), 0.0);
  return out;
}

}  // namespace

constinit const LossInfo sft_info = {.name = "sft",
                                     .function = sft_loss,
                                     .average = Average::tokens,
                                     .needs_reference = false,
                                     .needs_rejected = false,
                                     .source = "token-mean negative log-likelihood"};

}  // namespace vpref
