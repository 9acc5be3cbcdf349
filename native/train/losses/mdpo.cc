// SPDX-License-Identifier: Apache-2.0
// mDPO (Wang et al. 2024, 2406.11839 eq. 7): the response margin, the image margin (the chosen response under its own
// against a damaged image), and the anchor that keeps the chosen reward positive (delta = 0). Averaged over several
// rejected responses or images.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue mdpo_loss(const Preference& p, const LossOptions& o) {
  const auto dpo = [&](double d) -> Slope {
    const Slope s = smoothed_logistic(o.beta * d, 0);
    return {s.value, o.beta * s.derivative};
  };
  LossValue out = over_differences(p.chosen, p.rejected, dpo);
  const LossValue image = over_differences(p.chosen, p.rejected_images, dpo);
  const Slope anchor = dpo(log_ratio(p.chosen));
  out.loss += image.loss + anchor.value;
  out.d_chosen += image.d_chosen + anchor.derivative;
  out.d_rejected_images = image.d_rejected;
  return out;
}

}  // namespace

constinit const LossInfo mdpo_info = {.name = "mdpo",
                                      .function = mdpo_loss,
                                      .needs_rejected_images = true,
                                      .reads = {&LossOptions::beta},
                                      .source = "Wang 2024, 2406.11839 eq. 7"};

}  // namespace vpref
