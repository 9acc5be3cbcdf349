// SPDX-License-Identifier: Apache-2.0
// CLIP's tower with a two-layer GELU projector, for LLaVA and its successors.
#pragma once
#include "families/family.h"
#include "model/linear.h"
#include "model/vit.h"

namespace vpref {

struct LlavaConfig {
  VitConfig tower;
  int32_t image_size, patch_size;
  bool drop_class_row;  // vision_feature_select_strategy "default"
  Gelu projector_act;
  bool projector_bias;
  int64_t text_hidden_size;
  // Patches of a crop; pixels beyond the last whole patch are ignored.
  int32_t num_patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

// Throws Error{"config"} naming the key.
LlavaConfig parse_llava_vision(const ConfigReader& config, const ModelConfig& parsed);

// The decoder's groups, in every spelling of LLaVA's.
void list_llava_decoder(const ModelConfig& config, Weights& weights, FamilyTensors& out);

// One crop per image, one run of rows.
class LlavaVision : public Vision {
 public:
  explicit LlavaVision(const LlavaConfig& config) : config_(config) {}

  ImageLayout layout(const ImageShape& image) const override;
  int64_t num_features(const ImageShape& image) const override;
  int64_t feature_width() const override { return config_.tower.hidden_size; }
  void list_tensors(FamilyTensors& out) override;
  std::vector<ConnectorPart> connector() override;
  void features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                const Tensor& features, Arena& scratch) const override;
  void connect(Context& ctx, const Tensor& features, std::span<const ImageShape> images, const Tensor& rows,
               std::vector<Tensor>* kept, Arena& arena) const override;
  void connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape> images,
                        const std::vector<Tensor>& kept, const Tensor& drows, std::span<const Tensor> grads,
                        Arena& scratch) const override;

 protected:
  // Number of feature rows of a crop.
  int64_t crop_features() const { return config_.num_patches() + (config_.drop_class_row ? 0 : 1); }
  void check_crop(const CropSize& crop) const;
  // Before and after GELU, for the backward.
  std::vector<Tensor> make_kept(const Tensor& features, Arena& arena) const;
  // rows = linear_2(gelu(linear_1(features))).
  void project(Context& ctx, const Tensor& features, const Tensor& rows, const std::vector<Tensor>* kept,
               Arena& scratch) const;

  LlavaConfig config_;
  VitWeights tower_;
  Linear projector_1_, projector_2_;  // [D, C], [D, D]
};

}  // namespace vpref
