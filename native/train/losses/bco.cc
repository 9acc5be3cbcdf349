// SPDX-License-Identifier: Apache-2.0
// BCO (Jung et al. 2024, 2404.04656 eq. 7): desirable responses above the running mean of all rewards, undesirable ones
// below it. For pairs, and for single responses by their label; without prompts' density ratio (its sec. 3.3).
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

// One response: -log sigmoid of its reward's distance from delta, on the side of its label.
Slope response_loss(const ResponseLogps& b, bool is_desirable, double delta, double beta) {
  const double sign = is_desirable ? 1 : -1;
  const double distance = sign * (implicit_reward(b, beta) - delta);
  return {-log_sigmoid(distance), -sign * beta * sigmoid(-distance)};
}

LossValue bco_loss(const Preference& p, const LossOptions& o) {
  const double delta = p.points.reward_mean;
  if (p.rejected.empty()) {
    const Slope s = response_loss(p.chosen, p.label, delta, o.beta);
    return {.loss = s.value, .d_chosen = s.derivative};
  }
  return over_rejected(p.chosen, p.rejected, [&](const ResponseLogps& c, const ResponseLogps& r) -> PairSlopes {
    const Slope chosen = response_loss(c, true, delta, o.beta), rejected = response_loss(r, false, delta, o.beta);
    return {chosen.value + rejected.value, chosen.derivative, rejected.derivative};
  });
}

}  // namespace

constinit const LossInfo bco_info = {.name = "bco",
                                     .function = bco_loss,
                                     .needs_rejected = false,
                                     .needs_reward_mean = true,
                                     .takes_both = true,
                                     .reads = {&LossOptions::beta},
                                     .source = "Jung 2024, 2404.04656 eq. 7 with the running reward mean"};

}  // namespace vpref
