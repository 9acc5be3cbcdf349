// SPDX-License-Identifier: Apache-2.0
// SimPO (Meng et al. 2024, 2405.14734 eq. 6): length-normalised log-probabilities, target margin gamma, no reference.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue simpo_loss(const Preference& p, const LossOptions& o) {
  return over_rejected(p.chosen, p.rejected, [&](const ResponseLogps& c, const ResponseLogps& r) -> PairSlopes {
    const double num_c = double(c.num_tokens), num_r = double(r.num_tokens);
    const Slope s =
        smoothed_logistic(o.beta * (c.policy / num_c - r.policy / num_r) - o.simpo_gamma, o.label_smoothing);
    return {s.value, o.beta * s.derivative / num_c, -o.beta * s.derivative / num_r};
  });
}

}  // namespace

constinit const LossInfo simpo_info = {
    .name = "simpo",
    .function = simpo_loss,
    .needs_reference = false,
    .reads = {&LossOptions::beta, &LossOptions::label_smoothing, &LossOptions::simpo_gamma},
    .source = "Meng 2024, 2405.14734 eq. 6"};

}  // namespace vpref
