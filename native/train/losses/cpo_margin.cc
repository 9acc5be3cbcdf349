// SPDX-License-Identifier: Apache-2.0
// The preference term of CPO (Xu et al. 2024, 2401.08417 eq. 5): DPO with a uniform reference; "cpo" adds the SFT loss.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue cpo_margin_loss(const Preference& p, const LossOptions& o) {
  return over_rejected(p.chosen, p.rejected, [&](const ResponseLogps& c, const ResponseLogps& r) -> PairSlopes {
    const Slope s = smoothed_logistic(o.beta * (c.policy - r.policy), o.label_smoothing);
    return {s.value, o.beta * s.derivative, -o.beta * s.derivative};
  });
}

}  // namespace

constinit const LossInfo cpo_margin_info = {.name = "cpo-margin",
                                            .function = cpo_margin_loss,
                                            .needs_reference = false,
                                            .reads = {&LossOptions::beta, &LossOptions::label_smoothing},
                                            .source = "Xu 2024, 2401.08417 eq. 5"};

}  // namespace vpref
