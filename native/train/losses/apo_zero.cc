// SPDX-License-Identifier: Apache-2.0
// APO-zero: raises the chosen and lowers the rejected, each independently (D'Oosterlinck et al. 2024, 2408.06266 eq.
// 7).
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue apo_zero_loss(const Preference& p, const LossOptions& o) {
  return over_rejected(
      p.chosen, p.rejected, [&](const ResponseLogps& chosen, const ResponseLogps& rejected) -> PairSlopes {
        const double c = sigmoid(implicit_reward(chosen, o.beta)), r = sigmoid(implicit_reward(rejected, o.beta));
        return {1 - c + r, -o.beta * c * (1 - c), o.beta * r * (1 - r)};
      });
}

}  // namespace

constinit const LossInfo apo_zero_info = {.name = "apo-zero",
                                          .function = apo_zero_loss,
                                          .reads = {&LossOptions::beta},
                                          .source = "D'Oosterlinck 2024, 2408.06266 eq. 7"};

}  // namespace vpref
