// SPDX-License-Identifier: Apache-2.0
// Hinge on the scaled margin (SLiC-HF, Zhao et al. 2023, 2305.10425, with implicit rewards as RSO, Liu et al. 2023,
// 2309.06657 eq. 9).
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue hinge_loss(const Preference& p, const LossOptions& o) {
  return over_differences(p.chosen, p.rejected, [&](double d) -> Slope {
    const double x = o.beta * d;
    return x < 1 ? Slope{1 - x, -o.beta} : Slope{0, 0};
  });
}

}  // namespace

constinit const LossInfo hinge_info = {.name = "hinge",
                                       .function = hinge_loss,
                                       .reads = {&LossOptions::beta},
                                       .source = "Zhao 2023, 2305.10425; Liu 2023, 2309.06657 eq. 9"};

}  // namespace vpref
