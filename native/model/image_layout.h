// SPDX-License-Identifier: Apache-2.0
// The layout of one image among the tokens: its number of rows and their positions. It depends only on the image's
// sizes, so it is known before pixels are read.
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

// Everything about an image except its pixels.
struct ImageShape {
  int32_t height = 0, width = 0;  // the image's size before resizing
  std::vector<CropSize> crops;    // the tower's inputs, in order
  bool operator==(const ImageShape&) const = default;
};

inline ImageShape image_shape(const Image& image) {
  ImageShape shape{image.height, image.width, {}};
  for (const Crop& crop : image.crops) shape.crops.push_back({crop.height, crop.width});
  return shape;
}

struct ImageLayout {
  std::vector<int32_t> runs;  // lengths of its runs of image tokens, in order; text may separate two runs
  // (t, h, w) of each row, relative to the position counter at the first one; empty: positions count as for text.
  std::vector<std::array<int32_t, 3>> offsets;
  int32_t position_span = 0;  // the image's increment of the counter; the number of rows if offsets is empty
  int32_t num_rows() const { return std::accumulate(runs.begin(), runs.end(), 0); }
};

}  // namespace vpref
