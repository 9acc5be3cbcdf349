// SPDX-License-Identifier: Apache-2.0
// Robust DPO: unbiased under a known share of flipped pairs (Chowdhury et al. 2024, 2403.00409 eq. 12).
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue robust_loss(const Preference& p, const LossOptions& o) {
  return over_differences(p.chosen, p.rejected, [&](double d) -> Slope {
    const double x = o.beta * d, e = o.label_smoothing;
    return {(-(1 - e) * log_sigmoid(x) + e * log_sigmoid(-x)) / (1 - 2 * e),
            o.beta * (-(1 - e) * sigmoid(-x) - e * sigmoid(x)) / (1 - 2 * e)};
  });
}

}  // namespace

constinit const LossInfo robust_info = {.name = "robust",
                                        .function = robust_loss,
                                        .reads = {&LossOptions::beta, &LossOptions::label_smoothing},
                                        .source = "Chowdhury 2024, 2403.00409 eq. 12"};

}  // namespace vpref
