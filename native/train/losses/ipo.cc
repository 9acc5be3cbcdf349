// SPDX-License-Identifier: Apache-2.0
// IPO (Azar et al. 2023, 2310.12036 eq. 17): squared distance of the log-ratio difference to 1 / (2 beta), on sums as
// in the paper.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue ipo_loss(const Preference& p, const LossOptions& o) {
  return over_differences(p.chosen, p.rejected, [&](double d) -> Slope {
    const double x = d - 1 / (2 * o.beta);
    return {x * x, 2 * x};
  });
}

}  // namespace

constinit const LossInfo ipo_info = {.name = "ipo",
                                     .function = ipo_loss,
                                     .reads = {&LossOptions::beta},
                                     .source = "Azar 2023, 2310.12036 eq. 17, on sums"};

}  // namespace vpref
