// SPDX-License-Identifier: Apache-2.0
// A model whose images have another layout than its family's, with the family's rows.
#pragma once
#include <memory>
#include <utility>

#include "model/load.h"

namespace vpref::golden {

class WithLayout : public Vision {
 public:
  ImageLayout fixed;

  // Wraps the model's tower.
  static WithLayout& put(Model& model, ImageLayout layout) {
    auto vision = std::make_unique<WithLayout>(std::move(model.weights.vision), std::move(layout));
    WithLayout& out = *vision;
    model.config.vision = vision.get();
    model.weights.vision = std::move(vision);
    return out;
  }
  WithLayout(std::unique_ptr<Vision> inner, ImageLayout layout) : fixed(std::move(layout)), inner_(std::move(inner)) {}

  ImageLayout layout(const ImageShape&) const override { return fixed; }
  int64_t num_features(const ImageShape& image) const override { return inner_->num_features(image); }
  int64_t feature_width() const override { return inner_->feature_width(); }
  void list_tensors(FamilyTensors& out) override { inner_->list_tensors(out); }
  std::vector<ConnectorPart> connector() override { return inner_->connector(); }
  void features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                const Tensor& features, Arena& scratch) const override {
    inner_->features(ctx, images, normalisation, features, scratch);
  }
  void connect(Context& ctx, const Tensor& features, std::span<const ImageShape> images, const Tensor& rows,
               std::vector<Tensor>* kept, Arena& arena) const override {
    inner_->connect(ctx, features, images, rows, kept, arena);
  }
  void connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape> images,
                        const std::vector<Tensor>& kept, const Tensor& drows, std::span<const Tensor> grads,
                        Arena& scratch) const override {
    inner_->connect_backward(ctx, features, images, kept, drows, grads, scratch);
  }

 private:
  std::unique_ptr<Vision> inner_;
};

}  // namespace vpref::golden
