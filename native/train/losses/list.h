// SPDX-License-Identifier: Apache-2.0
// Every loss, in the order of --help. To add one: a file with its name that defines NAME_info, and a line here.
#pragma once
#include "train/losses/loss.h"

#define VPREF_LOSSES(LOSS) \
  LOSS(sigmoid)            \
  LOSS(sigmoid_norm)       \
  LOSS(ipo)                \
  LOSS(ipo_token_mean)     \
  LOSS(hinge)              \
  LOSS(robust)             \
  LOSS(exo)                \
  LOSS(bco_pair)           \
  LOSS(bco)                \
  LOSS(nca)                \
  LOSS(apo_zero)           \
  LOSS(apo_down)           \
  LOSS(softmax)            \
  LOSS(mdpo)               \
  LOSS(simpo)              \
  LOSS(odds_ratio)         \
  LOSS(cpo_margin)         \
  LOSS(kto)                \
  LOSS(sft)

namespace vpref {

#define VPREF_DECLARE_LOSS(NAME) extern const LossInfo NAME##_info;
VPREF_LOSSES(VPREF_DECLARE_LOSS)
#undef VPREF_DECLARE_LOSS

}  // namespace vpref
