// SPDX-License-Identifier: Apache-2.0
// Every loss function; each stands in the file of its name.
#pragma once
#include "train/losses/loss.h"

namespace vpref {

LossValue sigmoid_loss(const Preference&, const LossOptions&);
LossValue sigmoid_norm_loss(const Preference&, const LossOptions&);
LossValue bco_loss(const Preference&, const LossOptions&);
LossValue bco_pair_loss(const Preference&, const LossOptions&);
LossValue hinge_loss(const Preference&, const LossOptions&);
LossValue robust_loss(const Preference&, const LossOptions&);
LossValue ipo_loss(const Preference&, const LossOptions&);
LossValue ipo_token_mean_loss(const Preference&, const LossOptions&);
LossValue exo_loss(const Preference&, const LossOptions&);
LossValue nca_loss(const Preference&, const LossOptions&);
LossValue apo_zero_loss(const Preference&, const LossOptions&);
LossValue apo_down_loss(const Preference&, const LossOptions&);
LossValue softmax_loss(const Preference&, const LossOptions&);
LossValue mdpo_loss(const Preference&, const LossOptions&);
LossValue simpo_loss(const Preference&, const LossOptions&);
LossValue odds_ratio_loss(const Preference&, const LossOptions&);
LossValue cpo_margin_loss(const Preference&, const LossOptions&);
LossValue kto_loss(const Preference&, const LossOptions&);
LossValue sft_loss(const Preference&, const LossOptions&);

}  // namespace vpref
