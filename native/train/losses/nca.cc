// SPDX-License-Identifier: Apache-2.0
// NCA on pairs: noise contrastive alignment (Chen et al. 2024, 2402.05369, K = 2).
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue nca_loss(const Preference& p, const LossOptions& o) {
  return over_rejected(p.chosen, p.rejected,
                       [&](const ResponseLogps& chosen, const ResponseLogps& rejected) -> PairSlopes {
                         const double c = implicit_reward(chosen, o.beta), r = implicit_reward(rejected, o.beta);
                         return {-log_sigmoid(c) - 0.5 * log_sigmoid(-c) - 0.5 * log_sigmoid(-r),
                                 o.beta * (0.5 * sigmoid(c) - sigmoid(-c)), o.beta * 0.5 * sigmoid(r)};
                       });
}

}  // namespace

constinit const LossInfo nca_info = {
    .name = "nca", .function = nca_loss, .reads = {&LossOptions::beta}, .source = "Chen 2024, 2402.05369"};

}  // namespace vpref
