// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/error.h"
#include "core/memory.h"
#include "families/llava/llava.h"
#include "ops/gelu.h"

namespace vpref {

void LlavaVision::check_crop(const CropSize& crop) const {
  check(crop.height == config_.image_size && crop.width == config_.image_size, "request", "image: expected ",
        config_.image_size, " x ", config_.image_size, " pixels, got ", crop.width, " x ", crop.height);
}

int64_t LlavaVision::num_features(const ImageShape& image) const {
  check(image.crops.size() == 1, "request", "image: expected one crop, got ", image.crops.size());
  check_crop(image.crops[0]);
  return crop_features();
}

ImageLayout LlavaVision::layout(const ImageShape& image) const {
  const int32_t rows = int32_t(num_features(image));
  return {.runs = {rows}, .position_span = rows};
}

std::vector<ConnectorPart> LlavaVision::connector() {
  std::vector<ConnectorPart> parts;
  const auto add = [&](Linear& linear, const std::string& path) {
    parts.push_back({path + ".weight", &linear.weight});
    if (config_.projector_bias) parts.push_back({path + ".bias", &linear.bias});
  };
  add(projector_1_, "model.multi_modal_projector.linear_1");
  add(projector_2_, "model.multi_modal_projector.linear_2");
  return parts;
}

void LlavaVision::features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                           const Tensor& features, Arena& scratch) const {
  const int64_t num_crops = features.dim(0) / crop_features();
  const size_t mark = scratch.mark();
  const int64_t c = config_.tower.hidden_size, each = config_.num_patches();
  const PatchShape patch{.size = config_.patch_size};
  const Tensor x = scratch.tensor(features.dtype, {num_crops * (each + 1), c});
  {
    const size_t inner = scratch.mark();
    const Tensor patches = scratch.tensor(features.dtype, {num_crops * each, patch.width()});
    write_patches(ctx, images, normalisation, patch, patches);
    vit_embed(ctx, config_.tower, tower_, {patches, num_crops, tower_.position_embedding}, x, scratch);
    scratch.release(inner);
  }
  const AttentionPlan plan = vit_plan(std::vector<int32_t>(size_t(num_crops), int32_t(each) + 1), x.dim(0));
  vit_layers(ctx, config_.tower, tower_, {.plan = &plan}, x, scratch);
  const int64_t kept = crop_features(), first = each + 1 - kept;
  for (int64_t i = 0; i < num_crops; ++i) {
    const Tensor from = x.rows(i * (each + 1) + first, kept), to = features.rows(i * kept, kept);
    copy_on_device(ctx, to.data, from.data, from.bytes());
  }
  scratch.release(mark);
}

std::vector<Tensor> LlavaVision::make_kept(const Tensor& features, Arena& arena) const {
  const Tensor hidden = arena.tensor(features.dtype, {features.dim(0), config_.text_hidden_size});
  return {hidden, arena.tensor(features.dtype, {features.dim(0), config_.text_hidden_size})};
}

void LlavaVision::project(Context& ctx, const Tensor& features, const Tensor& rows, const std::vector<Tensor>* kept,
                          Arena& scratch) const {
  const size_t mark = scratch.mark();
  const Tensor hidden = kept ? (*kept)[0] : scratch.tensor(features.dtype, {features.dim(0), config_.text_hidden_size});
  const Tensor active = kept ? (*kept)[1] : hidden;
  linear_forward(ctx, projector_1_, features, hidden, scratch);
  gelu(ctx, config_.projector_act, hidden, active);
  linear_forward(ctx, projector_2_, active, rows, scratch);
  scratch.release(mark);
}

void LlavaVision::connect(Context& ctx, const Tensor& features, std::span<const ImageShape>, const Tensor& rows,
                          std::vector<Tensor>* kept, Arena& arena) const {
  if (kept) *kept = make_kept(features, arena);
  project(ctx, features, rows, kept, arena);
}

void LlavaVision::connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape>,
                                   const std::vector<Tensor>& kept, const Tensor& drows, std::span<const Tensor> grads,
                                   Arena& scratch) const {
  const auto of = [&](size_t layer) {
    const size_t each = grads.size() / 2;
    return LinearGrads{.weight = grads[layer * each], .bias = each == 2 ? grads[layer * each + 1] : Tensor()};
  };
  const size_t mark = scratch.mark();
  const Tensor dactive = scratch.tensor(drows.dtype, {drows.dim(0), config_.text_hidden_size});
  linear_backward(ctx, projector_2_, drows, kept[1], &dactive, of(1), scratch);
  gelu_backward(ctx, config_.projector_act, dactive, kept[0], dactive);
  linear_backward(ctx, projector_1_, dactive, features, nullptr, of(0), scratch);
  scratch.release(mark);
}

}  // namespace vpref
