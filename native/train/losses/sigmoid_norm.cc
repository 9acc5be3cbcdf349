// SPDX-License-Identifier: Apache-2.0
// DPO on token means: each log-ratio divided by its number of tokens first. Source: trl 1.13's sigmoid_norm; the
// averaged log-probabilities of Li et al. 2024.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue sigmoid_norm_loss(const Preference& p, const LossOptions& o) {
  return over_rejected(p.chosen, p.rejected, [&](const ResponseLogps& c, const ResponseLogps& r) -> PairSlopes {
    const double num_c = double(c.num_tokens), num_r = double(r.num_tokens);
    const Slope s = smoothed_logistic(o.beta * (log_ratio(c) / num_c - log_ratio(r) / num_r), o.label_smoothing);
    return {s.value, o.beta * s.derivative / num_c, -o.beta * s.derivative / num_r};
  });
}

}  // namespace

constinit const LossInfo sigmoid_norm_info = {.name = "sigmoid-norm",
                                              .function = sigmoid_norm_loss,
                                              .reads = {&LossOptions::beta, &LossOptions::label_smoothing},
                                              .source = "as trl sigmoid_norm: on token means"};

}  // namespace vpref
