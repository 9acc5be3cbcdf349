// SPDX-License-Identifier: Apache-2.0
// Forward diffusion of an image: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise, on the normalised tensor, unclipped.
#pragma once
#include <span>

#include "input/image.h"

namespace vpref {

constexpr int32_t kDiffusionSteps = 1000;

struct DiffusionLevel {
  double signal;  // sqrt(abar_t)
  double noise;   // sqrt(1 - abar_t)
};

// beta_i = sigmoid(linspace(-6, 6, 1000)_i) * (0.005 - 1e-5) + 1e-5; abar_t = prod_{i <= t} (1 - beta_i).
// step in 0..999; throws Error{"request"}.  Source: VCD (2311.16922), vcd_add_noise; SeVa uses the same.
DiffusionLevel diffusion_level(int32_t step);

// The noise of element i of a crop: Philox4x32-10 with key = seed and counter = (i / 4, 0, crop, 0); words (0, 1) and
// (2, 3) give two normals each by Box-Muller, r = sqrt(-2 ln((a + 0.5) 2^-32)), angle = 2 pi (b + 0.5) 2^-32, in the
// order r cos, r sin. Computed in double, rounded to f32.
void standard_normals(uint64_t seed, uint32_t crop, std::span<float> out);

void add_diffusion_noise(const DiffusionRecipe& recipe, uint32_t crop, std::span<float> x);

}  // namespace vpref
