// SPDX-License-Identifier: Apache-2.0
// Shared by the Qwen VL families: config.json in every style, rope with three axes in the decoder, a tower for images
// of any size, and its merger.
#pragma once
#include <array>

#include "families/llama/llama.h"
#include "model/linear.h"
#include "model/vit.h"
#include "ops/rope.h"

namespace vpref {

// The object with the decoder's keys: text_config, or config.json itself (hub files of transformers 4). If both hold a
// key, text_config is used.
ConfigReader qwen_text_reader(const ConfigReader& config);
inline const IdDefaults kQwenIds = {.eos = {151645}, .bos = 151643, .image = 151655};
// mrope_section: the number of frequencies that read t, h and w. Either one axis after the other, or interleaved:
// frequency i reads h if i % 3 is 1, w if it is 2, each below three times its count, else t.
void parse_mrope(const ConfigReader& text, const std::array<int32_t, 3>& fallback, bool interleaved, TextConfig& t);
// Everything of qwen2_vl and qwen2_5_vl except the tower; they differ only in name.
ModelConfig parse_qwen2_vl_config(const ConfigReader& config, const char* model_type);
FamilyTensors list_qwen_decoder(const ModelConfig& config, Weights& weights);

struct QwenVisionConfig {
  VitConfig tower;
  VitNames names;
  int32_t patch_size, temporal_patch_size;
  int32_t spatial_merge_size;  // patches per side of an image row's square
  double rope_theta;
  int64_t text_hidden_size;
};
// Options that differ between the classes.
struct QwenVisionDefaults {
  int32_t depth = 32, patch_size = 14;
};
// Reads the keys of every tower; c.tower.hidden_size is set before.
void parse_qwen_vision(const ConfigReader& vision, const ModelConfig& parsed, QwenVisionConfig& c,
                       const QwenVisionDefaults& defaults = {});

// The image rows of one image, in the tower's order.
struct QwenOrder {
  std::vector<int32_t> rows;     // y * width + x of the merged grid
  std::vector<int32_t> windows;  // number of rows per window, in that order
};

// One crop per image. Patches are ordered in the blocks that the merger joins, and window by window if the tower has
// windows; features are in row-major order.
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
  // The size of an image's grid of rows. Throws Error{"request"} if the tower does not accept its crops.
  CropSize merged_grid(const ImageShape& image) const;
  // Default, without windows: row-major order, one window.
  virtual QwenOrder order(const CropSize& merged) const;
  // The patches' order in the tower, as y * width + x, for a grid of patches.
  std::vector<int32_t> patch_order(int32_t height, int32_t width) const;
  // The rotation by each patch's place; memory in `scratch`.
  Rotation rotation(Context& ctx, std::span<const Image* const> images, int64_t num_rows, Arena& scratch) const;
  PatchShape patch() const { return {.size = config_.patch_size, .frames = config_.temporal_patch_size}; }
  int64_t merged_width() const { return feature_width() * max_features_per_row(); }

  QwenVisionConfig config_;
  VitWeights tower_;
  VitNormWeights merger_norm_;  // [C]
  Linear merger_1_, merger_2_;  // [C k^2, C k^2], [D, C k^2]

 private:
  bool has_windows() const { return !config_.tower.windowed.empty(); }
  // Kept by connect(): normed features, the norm's statistics, the input and output of GELU.
  std::vector<Tensor> merger_rows(const Tensor& features, Arena& arena) const;
};

}  // namespace vpref
