// SPDX-License-Identifier: Apache-2.0
// EXO on pairs: reverse KL to the smoothed label distribution (Ji et al. 2024, 2402.00856 eq. 16). Requires label
// smoothing > 0.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue exo_loss(const Preference& p, const LossOptions& o) {
  return over_differences(p.chosen, p.rejected, [&](double d) -> Slope {
    const double x = o.beta * d, e = o.label_smoothing, q = sigmoid(x);
    const double value = q * (log_sigmoid(x) - std::log1p(-e)) + (1 - q) * (log_sigmoid(-x) - std::log(e));
    // d value / dq is x - log((1 - e) / e), since log q - log(1 - q) = x.
    return {value, o.beta * q * (1 - q) * (x - std::log1p(-e) + std::log(e))};
  });
}

}  // namespace

constinit const LossInfo exo_info = {.name = "exo",
                                     .function = exo_loss,
                                     .needs_smoothing = true,
                                     .reads = {&LossOptions::beta, &LossOptions::label_smoothing},
                                     .source = "Ji 2024, 2402.00856 eq. 16"};

}  // namespace vpref
