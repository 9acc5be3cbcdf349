// SPDX-License-Identifier: Apache-2.0
// BCO on pairs, without the running reward mean (Jung et al. 2024, 2404.04656 eq. 7 with delta = 0): the quality term
// of MPO (Wang et al. 2024, 2411.10442 eq. 5), as trl's DPOTrainer computes bco_pair.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue bco_pair_loss(const Preference& p, const LossOptions& o) {
  return over_rejected(p.chosen, p.rejected, [&](const ResponseLogps& c, const ResponseLogps& r) -> PairSlopes {
    const double chosen = implicit_reward(c, o.beta), rejected = implicit_reward(r, o.beta);
    return {-log_sigmoid(chosen) - log_sigmoid(-rejected), -o.beta * sigmoid(-chosen), o.beta * sigmoid(rejected)};
  });
}

}  // namespace

constinit const LossInfo bco_pair_info = {.name = "bco-pair",
                                          .function = bco_pair_loss,
                                          .reads = {&LossOptions::beta},
                                          .source = "Jung 2024, 2404.04656 eq. 7 without reward shift"};

}  // namespace vpref
