// SPDX-License-Identifier: Apache-2.0
// Images to vision features and rows: the family's Vision, a few images at a time.
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

  // features[N, C] in the compute dtype, before the connector: Vision::num_features rows of each image, in order.
  // Throws Error{"request"} where an image's crops are not what the tower takes.
  void features(Context& ctx, std::span<const Image* const> images, const Tensor& features);
  // rows[planes * R, D]: what stands among the tokens, Vision::layout's rows of each image, in order, plane by plane.
  void rows(Context& ctx, std::span<const Image* const> images, const Tensor& rows);

  // Takes the memory for a call of images with this many features ahead of it, none of them with more than
  // `largest_image`, found by measuring such a call.
  void reserve(Context& ctx, int64_t num_features, int64_t largest_image);
  // Bytes of that memory.
  size_t measure(Context& ctx, int64_t num_features, int64_t largest_image);
  size_t planned_bytes() const { return arena_.capacity(); }

 private:
  int64_t features_at_once() const;
  int64_t features_together(int64_t num_features, int64_t largest_image) const;
  // rows[planes * R, D] of images that go through the tower together, with this many features.
  void encode(Context& ctx, std::span<const Image* const> images, int64_t num_features, const Tensor& rows);
  Tensor staging(int64_t rows, int64_t width);
  std::vector<std::span<const Image* const>> batches(std::span<const Image* const> images) const;

  const Model& model_;
  Arena arena_;
  int64_t reserved_ = 0;  // features
  Buffer staging_;        // rows of several planes
};

}  // namespace vpref
