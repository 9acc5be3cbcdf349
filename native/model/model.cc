// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

#include "core/error.h"

namespace vpref {

ImageLayout layout_of(const ModelConfig& config, const Image& image) {
  check(config.vision != nullptr, "request", "image: expected none for a text-only model");
  for (const Crop& crop : image.crops)
    check(crop.pixels.size() == 3 * size_t(crop.height) * size_t(crop.width), "request", "image: expected ", crop.width,
          " x ", crop.height, " RGB pixels, got ", crop.pixels.size(), " bytes");
  return config.vision->layout(image_shape(image));
}

std::vector<ImageLayout> layouts_of(const ModelConfig& config, std::span<const Image> images) {
  std::vector<ImageLayout> layouts;
  for (const Image& image : images) layouts.push_back(layout_of(config, image));
  return layouts;
}

}  // namespace vpref
