// SPDX-License-Identifier: Apache-2.0
// An image as the engine gets it: crops in 8-bit RGB at the tower's sizes, and the recipe that the engine applies.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

namespace vpref {

// Forward diffusion of the normalised pixels to `step` of 1000, unclipped (VCD's schedule, input/diffusion.h).
struct DiffusionRecipe {
  int32_t step = 0;   // 0..999
  uint64_t seed = 0;  // of the noise
  bool operator==(const DiffusionRecipe&) const = default;
};

struct Crop {
  int32_t height = 0, width = 0;
  std::vector<uint8_t> pixels;  // [height, width, 3], RGB
  bool operator==(const Crop&) const = default;
};

struct Image {
  int32_t height = 0, width = 0;  // of the original image
  std::vector<Crop> crops;
  std::optional<DiffusionRecipe> diffusion;  // of every crop, each with its own noise
  bool operator==(const Image&) const = default;
};

}  // namespace vpref
