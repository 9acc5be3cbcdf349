// SPDX-License-Identifier: Apache-2.0
// What the Qwen VL families share: config.json in every style, rope of three axes in the decoder, a tower of pictures
// in their own shapes and its merger.
#pragma once
#include <array>

#include "families/llama/llama.h"
#include "model/linear.h"
#include "model/vit.h"
#include "ops/rope.h"

namespace vpref {

// The decoder's keys: text_config, or config.json itself as hub files of transformers 4 have them. Where they stand in
// both, text_config is meant.
ConfigReader qwen_text_reader(const ConfigReader& config);
inline const IdDefaults kQwenIds = {.eos = {151645}, .bos = 151643, .image = 151655};
// mrope_section is how many frequencies read t, h and w: one axis after the other, or interleaved: frequency i reads h
// where i % 3 is 1, w where it is 2, each below three times its count, else t.
void parse_mrope(const ConfigReader& text, const std::array<int32_t, 3>& fallback, bool interleaved, TextConfig& t);
// All of qwen2_vl and of qwen2_5_vl but the tower; they differ in the name alone.
ModelConfig parse_qwen2_vl_config(const ConfigReader& config, const char* model_type);
FamilyTensors list_qwen_decoder(const ModelConfig& config, Weights& weights);

struct QwenVisionConfig {
  VitConfig tower;
  VitNames names;
  int32_t patch_size, temporal_patch_size;
  int32_t spatial_merge_size;  // patches of a row among the tokens, squared
  double rope_theta;
  int64_t text_hidden_size;
};
// Where the classes differ.
struct QwenVisionDefaults {
  int32_t depth = 32, patch_size = 14;
};
// The keys that every tower has; c.tower.hidden_size is set before.
void parse_qwen_vision(const ConfigReader& vision, const ModelConfig& parsed, QwenVisionConfig& c,
                       const QwenVisionDefaults& defaults = {});

// The rows that one image is among the tokens, in their places in the tower.
struct QwenOrder {
  std::vector<int32_t> rows;     // y * width + x of the merged grid
  std::vector<int32_t> windows;  // how many of them each window has, in that order
};

// One crop an image. Patches stand by blocks that the merger puts side by side, and window by window where the tower
// has windows; features stand row by row.
class QwenVision : public Vision {
 public:
  explicit QwenVision(QwenVisionConfig config) : config_(std::move(config)) {}

  ImageLayout layout(const ImageShape& image) const override;
  int64_t num_features(const ImageShape& image) const override;
  int64_t feature_width() const override { return config_.tower.hidden_size; }
  int64_t max_features_per_row() const override {
    return int64_t(config_.spatial_merge_size) * config_.spatial_merge_size;
  }
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
  // Sides of an image's grid of rows. Throws Error{"request"} for other crops than the tower takes.
  CropSize merged_grid(const ImageShape& image) const;
  // Of a tower without windows: row by row, one window.
  virtual QwenOrder order(const CropSize& merged) const;
  // Places y * width + x of the patches in the tower, for a grid of patches.
  std::vector<int32_t> patch_order(int32_t height, int32_t width) const;
  // Turns heads by each patch's own place; memory in `scratch`.
  Rotation rotation(Context& ctx, std::span<const Image* const> images, int64_t num_rows, Arena& scratch) const;
  PatchShape patch() const { return {.size = config_.patch_size, .frames = config_.temporal_patch_size}; }
  int64_t merged_width() const { return feature_width() * max_features_per_row(); }

  QwenVisionConfig config_;
  VitWeights tower_;
  VitNormWeights merger_norm_;  // [C]
  Linear merger_1_, merger_2_;  // [C k^2, C k^2], [D, C k^2]

 private:
  bool has_windows() const { return !config_.tower.windowed.empty(); }
  // Of connect(): normed features, the norm's statistics, before and after GELU.
  std::vector<Tensor> merger_rows(const Tensor& features, Arena& arena) const;
};

}  // namespace vpref
