// SPDX-License-Identifier: Apache-2.0
// DPO (Rafailov et al. 2023, 2305.18290 eq. 7); with label smoothing cDPO (Mitchell 2023, "A note on DPO with noisy
// preferences" eq. 3).
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue sigmoid_loss(const Preference& p, const LossOptions& o) {
  return over_differences(p.chosen, p.rejected, [&](double d) -> Slope {
    const Slope s = smoothed_logistic(o.beta * d, o.label_smoothing);
    return {s.value, o.beta * s.derivative};
  });
}

}  // namespace

constinit const LossInfo sigmoid_info = {.name = "sigmoid",
                                         .function = sigmoid_loss,
                                         .reads = {&LossOptions::beta, &LossOptions::label_smoothing},
                                         .source = "Rafailov 2023, 2305.18290 eq. 7"};

}  // namespace vpref
