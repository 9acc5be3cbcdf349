// SPDX-License-Identifier: Apache-2.0
#include "model/projector.h"

#include "ops/gelu.h"

namespace vpref {

ProjectorActivations make_projector_activations(const ModelConfig& config, int64_t num_rows, DType dtype,
                                                Arena& arena) {
  const int64_t c = config.vision.hidden_size, d = config.text.hidden_size;
  return {.features = arena.tensor(dtype, {num_rows, c}),
          .hidden = arena.tensor(dtype, {num_rows, d}),
          .active = arena.tensor(dtype, {num_rows, d})};
}

void projector_forward(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& features,
                       const Tensor& rows, const ProjectorActivations* saved, Arena& scratch) {
  const size_t mark = scratch.mark();
  const Tensor hidden =
      saved ? saved->hidden : scratch.tensor(features.dtype, {features.dim(0), config.text.hidden_size});
  const Tensor active = saved ? saved->active : hidden;
  linear_forward(ctx, weights.projector_1, features, hidden, scratch);
  gelu(ctx, config.projector_hidden_act, hidden, active);
  linear_forward(ctx, weights.projector_2, active, rows, scratch);
  scratch.release(mark);
}

void projector_backward(Context& ctx, const ModelConfig& config, const Weights& weights,
                        const ProjectorActivations& saved, const Tensor& drows, const ProjectorGrads& grads,
                        Arena& scratch) {
  const size_t mark = scratch.mark();
  const Tensor dactive = scratch.tensor(drows.dtype, {drows.dim(0), config.text.hidden_size});
  linear_backward(ctx, weights.projector_2, drows, saved.active, &dactive, 0, grads.linear_2, scratch);
  gelu_backward(ctx, config.projector_hidden_act, dactive, saved.hidden, dactive);
  linear_backward(ctx, weights.projector_1, dactive, saved.features, nullptr, 0, grads.linear_1, scratch);
  scratch.release(mark);
}

}  // namespace vpref
