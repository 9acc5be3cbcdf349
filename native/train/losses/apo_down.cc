// SPDX-License-Identifier: Apache-2.0
// APO-down: lowers both, the rejected more, for a policy better than its chosen responses (2408.06266 eq. 8).
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue apo_down_loss(const Preference& p, const LossOptions& o) {
  return over_rejected(p.chosen, p.rejected,
                       [&](const ResponseLogps& chosen, const ResponseLogps& rejected) -> PairSlopes {
                         const double c = sigmoid(implicit_reward(chosen, o.beta));
                         const double m = sigmoid(o.beta * (log_ratio(chosen) - log_ratio(rejected)));
                         const double dm = o.beta * m * (1 - m);
                         return {c + 1 - m, o.beta * c * (1 - c) - dm, dm};
                       });
}

}  // namespace

constinit const LossInfo apo_down_info = {.name = "apo-down",
                                          .function = apo_down_loss,
                                          .reads = {&LossOptions::beta},
                                          .source = "D'Oosterlinck 2024, 2408.06266 eq. 8"};

}  // namespace vpref
