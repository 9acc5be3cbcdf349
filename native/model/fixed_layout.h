// SPDX-License-Identifier: Apache-2.0
// The layout of an image: the one place that says where it comes from.
#pragma once
#include <span>
#include <vector>

#include "input/image.h"
#include "model/image_layout.h"
#include "model/model.h"

namespace vpref {

inline const ImageLayout& layout_of(const ModelConfig& config, const Image&) { return config.image_layout; }

inline std::vector<ImageLayout> layouts_of(const ModelConfig& config, std::span<const Image> images) {
  std::vector<ImageLayout> out;
  for (const Image& image : images) out.push_back(layout_of(config, image));
  return out;
}

}  // namespace vpref
