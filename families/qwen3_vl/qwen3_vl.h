// SPDX-License-Identifier: Apache-2.0
// Qwen3-VL's tower: patches at the image's own resolution, interpolated learned positions and a 2-D rope; a merger for
// what stands among the tokens and one for each plane that is added in the decoder (DeepStack).
//   N patches, C tower width, m merged patches a side, D decoder width.
#pragma once
#include <string>
#include <vector>

#include "families/family.h"
#include "model/linear.h"
#include "model/vit.h"
#include "ops/rope.h"

namespace vpref {

struct Qwen3VlConfig {
  VitConfig tower;
  PatchShape patch;
  int32_t table_side;               // of the table of positions
  int32_t num_position_embeddings;  // its rows
  double rope_theta;                // of the tower
  std::vector<int32_t> deepstack;   // layers whose output is a plane, ascending
  int64_t text_hidden_size;
  int64_t merged() const { return int64_t(patch.block) * patch.block; }
  int64_t merged_width() const { return merged() * tower.hidden_size; }
};

// A norm, two linears with GELU between them.
struct Qwen3VlMerger {
  std::string path;     // below the tower's
  VitNormWeights norm;  // [C] before patches are merged: what stands among the tokens; [m^2 C] after: the planes
  Linear fc1, fc2;      // [m^2 C, m^2 C], [D, m^2 C]
};

// Features are rows in blocks of m x m patches: a block's m^2 rows of the last layer, then those of each DeepStack
// layer, so that each layer's merged rows are columns of [N / m^2, planes * m^2 C].
class Qwen3VlVision : public Vision {
 public:
  explicit Qwen3VlVision(const Qwen3VlConfig& config);

  ImageLayout layout(const ImageShape& image) const override;
  int64_t num_features(const ImageShape& image) const override;
  int64_t feature_width() const override { return num_planes() * config_.tower.hidden_size; }
  int64_t features_a_row() const override { return config_.merged(); }
  int64_t num_planes() const override { return int64_t(config_.deepstack.size()) + 1; }
  void list_tensors(FamilyTensors& out) override;
  std::vector<ConnectorPart> connector() override;
  void features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                const Tensor& features, Arena& scratch) const override;
  void connect(Context& ctx, const Tensor& features, std::span<const ImageShape> images, const Tensor& rows,
               std::vector<Tensor>* kept, Arena& arena) const override;
  void connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape> images,
                        const std::vector<Tensor>& kept, const Tensor& drows, std::span<const Tensor> grads,
                        Arena& scratch) const override;
  size_t tower_bytes(int64_t num_features, DType dtype) const override;
  size_t connect_bytes(int64_t num_features, DType dtype) const override;
  size_t kept_bytes(int64_t num_features, DType dtype) const override;

 private:
  CropSize grid(const CropSize& crop) const;
  std::vector<CropSize> grids(std::span<const Image* const> images) const;
  Tensor merged(const Tensor& features, int64_t plane) const;
  Tensor merger_input(Context& ctx, const Tensor& features, size_t plane, Arena& arena) const;
  void merger_norm(Context& ctx, size_t plane, const Tensor& x, const Tensor& y, const Tensor* mean_rstd) const;
  void interpolate(Context& ctx, std::span<const CropSize> grids, const Tensor& table, Arena& scratch) const;
  Rotation rotation(Context& ctx, std::span<const CropSize> grids, int64_t num_rows, Arena& scratch) const;

  Qwen3VlConfig config_;
  VitWeights tower_;
  std::vector<Qwen3VlMerger> mergers_;  // one per plane
};

}  // namespace vpref
