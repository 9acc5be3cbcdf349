// SPDX-License-Identifier: Apache-2.0
// The two-layer GELU projector from vision features to decoder rows; forward and backward.
#pragma once
#include "core/arena.h"
#include "model/linear.h"
#include "model/model.h"

namespace vpref {

// What the backward needs; M rows (all patches of all images).
struct ProjectorActivations {
  Tensor features;  // [M,C] the input
  Tensor hidden;    // [M,D] before GELU
  Tensor active;    // [M,D] after GELU
};

ProjectorActivations make_projector_activations(const ModelConfig& config, int64_t num_rows, DType dtype, Arena& arena);

// rows[M,D] = linear_2(gelu(linear_1(features[M,C]))). saved: the features are taken from saved->features when that is
// where they stand.
void projector_forward(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& features,
                       const Tensor& rows, const ProjectorActivations* saved, Arena& scratch);

struct ProjectorGrads {
  LinearGrads linear_1, linear_2;
};

// Gradients of the projector's parameters from drows[M,D]; nothing flows into the frozen vision tower.
void projector_backward(Context& ctx, const ModelConfig& config, const Weights& weights,
                        const ProjectorActivations& saved, const Tensor& drows, const ProjectorGrads& grads,
                        Arena& scratch);

}  // namespace vpref
