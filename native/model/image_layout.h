// SPDX-License-Identifier: Apache-2.0
// What one image is among the tokens: how many rows it takes and at which positions. A pure function of its sizes, so
// that it is known before any pixel is read.
#pragma once
#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

#include "input/image.h"

namespace vpref {

struct CropSize {
  int32_t height = 0, width = 0;
  bool operator==(const CropSize&) const = default;
};

// Everything about an image but its pixels.
struct ImageShape {
  int32_t height = 0, width = 0;  // of the picture, before it was resized
  std::vector<CropSize> crops;    // what the tower sees, in order
  bool operator==(const ImageShape&) const = default;
};

inline ImageShape image_shape(const Image& image) {
  ImageShape shape{image.height, image.width, {}};
  for (const Crop& crop : image.crops) shape.crops.push_back({crop.height, crop.width});
  return shape;
}

struct ImageLayout {
  std::vector<int32_t> runs;  // lengths of its runs of image tokens, in order; text may stand between two of them
  // (t, h, w) of each row relative to the position counter at the first one; empty: rows count on as text does.
  std::vector<std::array<int32_t, 3>> offsets;
  int32_t position_span = 0;  // what the counter grows by over the image; the rows themselves where offsets is empty
  int32_t num_rows() const { return std::accumulate(runs.begin(), runs.end(), 0); }
};

}  // namespace vpref
