// SPDX-License-Identifier: Apache-2.0
// Images to vision features: pixels -> patches -> vision tower, a few images at a time.
#pragma once
#include <span>
#include <vector>

#include "core/arena.h"
#include "input/image.h"
#include "model/load.h"

namespace vpref {

class ImageEncoder {
 public:
  explicit ImageEncoder(const Model& model) : model_(model) {}

  // features[N, C] in the compute dtype, before the projector: Model::num_features rows of each image, in order. Throws
  // Error{"request"} where an image's crops are not what the tower takes.
  void features(Context& ctx, std::span<const Image* const> images, const Tensor& features);
  // rows[R, D]: what stands among the tokens, Model::layout's rows of each image, in order.
  void rows(Context& ctx, std::span<const Image* const> images, const Tensor& rows);

  // Takes the memory for a call of images with this many features ahead of it.
  void reserve(int64_t num_features);
  size_t planned_bytes() const { return arena_.capacity(); }

 private:
  std::vector<std::span<const Image* const>> batches(std::span<const Image* const> images) const;

  const Model& model_;
  Arena arena_;
};

}  // namespace vpref
