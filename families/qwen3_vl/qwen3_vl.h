// SPDX-License-Identifier: Apache-2.0
// Qwen3-VL's tower: that of the Qwen VL families with interpolated learned positions; a merger for what stands among
// the tokens, and one for each plane that is added in the decoder (DeepStack).
//   N patches, C tower width, m merged patches per side, D decoder width.
#pragma once
#include <string>
#include <vector>

#include "families/qwen2_vl/qwen2_vl.h"

namespace vpref {

struct Qwen3VlConfig : QwenVisionConfig {
  int32_t num_position_embeddings;  // rows of the table of positions
  int32_t table_side;               // side of the square part that is used
  std::vector<int32_t> deepstack;   // layers whose output is a plane, ascending
};

// A norm, two linears with GELU between them.
struct Qwen3VlMerger {
  std::string path;     // path below the tower
  VitNormWeights norm;  // main merger: [C], before patches are merged; DeepStack mergers: [m^2 C], after
  Linear fc1, fc2;      // [m^2 C, m^2 C], [D, m^2 C]
};

// Feature rows are in blocks of m x m patches: a block's m^2 rows of the last layer, then those of each DeepStack
// layer. So each layer's merged rows are columns of [N / m^2, planes * m^2 C].
class Qwen3VlVision : public QwenVision {
 public:
  explicit Qwen3VlVision(const Qwen3VlConfig& config);

  int64_t feature_width() const override { return num_planes() * config_.tower.hidden_size; }
  int64_t num_planes() const override { return int64_t(deepstack_.size()) + 1; }
  void list_tensors(FamilyTensors& out) override;
  std::vector<ConnectorPart> connector() override;
  void features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                const Tensor& features, Arena& scratch) const override;
  void connect(Context& ctx, const Tensor& features, std::span<const ImageShape> images, const Tensor& rows,
               std::vector<Tensor>* kept, Arena& arena) const override;
  void connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape> images,
                        const std::vector<Tensor>& kept, const Tensor& drows, std::span<const Tensor> grads,
                        Arena& scratch) const override;

 private:
  int64_t wide() const { return max_features_per_row() * config_.tower.hidden_size; }
  Tensor merged(const Tensor& features, int64_t plane) const;
  Tensor merger_input(Context& ctx, const Tensor& features, size_t plane, Arena& arena) const;
  void merger_norm(Context& ctx, size_t plane, const Tensor& x, const Tensor& y, const Tensor* mean_rstd) const;
  void interpolate(Context& ctx, std::span<const Image* const> images, const Tensor& table, Arena& scratch) const;

  int32_t num_position_embeddings_, table_side_;
  std::vector<int32_t> deepstack_;
  std::vector<Qwen3VlMerger> mergers_;  // one per plane
};

}  // namespace vpref
