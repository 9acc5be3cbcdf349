// SPDX-License-Identifier: Apache-2.0
// An image as it enters the engine: 8-bit RGB at the model's size, and what the engine itself still has to do to it.
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

struct Image {
  int32_t height = 0, width = 0;
  std::vector<uint8_t> pixels;  // [height, width, 3], RGB
  std::optional<DiffusionRecipe> diffusion;
  bool operator==(const Image&) const = default;
};

}  // namespace vpref
