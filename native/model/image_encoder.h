// SPDX-License-Identifier: Apache-2.0
// Images to vision features: pixels -> patches -> vision tower, a few images at a time.
#pragma once
#include <span>

#include "core/arena.h"
#include "input/image.h"
#include "model/load.h"

namespace vpref {

class ImageEncoder {
 public:
  explicit ImageEncoder(const Model& model) : model_(model) {}

  // features[images * num_image_rows, C] in the compute dtype, before the projector. Throws Error{"request"} when an
  // image has not the model's size.
  void features(Context& ctx, std::span<const Image* const> images, const Tensor& features);
  // rows[images * num_image_rows, D]: what stands among the tokens.
  void rows(Context& ctx, std::span<const Image* const> images, const Tensor& rows);

  void check_size(const Image& image) const;
  // Takes the memory for a call of this many images ahead of it.
  void reserve(int64_t num_images);
  size_t planned_bytes() const { return arena_.capacity(); }

 private:
  int64_t images_at_once() const;

  const Model& model_;
  Arena arena_;
};

}  // namespace vpref
