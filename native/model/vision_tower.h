// SPDX-License-Identifier: Apache-2.0
// CLIP's vision transformer up to the feature layer: patches in, patch features out. Frozen: there is no backward.
#pragma once
#include "core/arena.h"
#include "model/model.h"

namespace vpref {

// Scratch bytes of vision_tower for `num_images` images at once.
size_t vision_scratch_bytes(const ModelConfig& config, const Weights& weights, int64_t num_images, DType dtype);

// features[B*R, C] from patches[B*P, 3*p*p] (R = num_image_rows: the class row leads when it is kept), both in the
// compute dtype. hidden_states[vision_feature_layer] of transformers' CLIPVisionModel; post_layernorm is never applied.
void vision_tower(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& patches,
                  const Tensor& features, Arena& scratch);

}  // namespace vpref
