// SPDX-License-Identifier: Apache-2.0
// KTO (Ethayarajh et al. 2024, 2402.01306 eq. 8) on unpaired responses: value against the reference point z_0, which
// the trainer estimates from mismatched responses of the batch and clamps at 0.
#include "train/losses/list.h"
#include "train/losses/math.h"

namespace vpref {

namespace {

LossValue kto_loss(const Preference& p, const LossOptions& o) {
  LossValue out;
  const double sign = p.label ? 1 : -1;
  const double weight = p.label ? o.desirable_weight : o.undesirable_weight;
  const double s = sigmoid(sign * o.beta * (log_ratio(p.chosen) - p.points.kl));
  out.loss = weight * (1 - s);
  out.d_chosen = -weight * sign * o.beta * s * (1 - s);
  return out;
}

}  // namespace

constinit const LossInfo kto_info = {
    .name = "kto",
    .function = kto_loss,
    .needs_rejected = false,
    .needs_label = true,
    .needs_reference_point = true,
    .reads = {&LossOptions::beta, &LossOptions::desirable_weight, &LossOptions::undesirable_weight},
    .source = "Ethayarajh 2024, 2402.01306 eq. 8"};

}  // namespace vpref
