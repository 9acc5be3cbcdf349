// SPDX-License-Identifier: Apache-2.0
#include "input/diffusion.h"

#include <array>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/philox.h"

namespace vpref {

DiffusionLevel diffusion_level(int32_t step) {
  check(step >= 0 && step < kDiffusionSteps, "request", "diffusion step: expected 0..", kDiffusionSteps - 1, ", got ",
        step);
  double abar = 1;
  for (int32_t i = 0; i <= step; ++i) {
    const double x = -6.0 + 12.0 * i / (kDiffusionSteps - 1);
    const double beta = (0.5e-2 - 1e-5) / (1.0 + std::exp(-x)) + 1e-5;
    abar *= 1.0 - beta;
  }
  return {std::sqrt(abar), std::sqrt(1.0 - abar)};
}

namespace {

std::array<float, 4> normal_block(uint64_t seed, uint32_t crop, uint32_t block) {
  const std::array<uint32_t, 4> w = philox4x32(seed, {block, 0, crop, 0});
  std::array<float, 4> z;
  for (size_t pair = 0; pair < 2; ++pair) {
    const double a = (w[2 * pair] + 0.5) * 0x1p-32, b = (w[2 * pair + 1] + 0.5) * 0x1p-32;
    const double r = std::sqrt(-2.0 * std::log(a)), angle = 2.0 * std::numbers::pi * b;
    z[2 * pair] = float(r * std::cos(angle));
    z[2 * pair + 1] = float(r * std::sin(angle));
  }
  return z;
}

}  // namespace

void standard_normals(uint64_t seed, uint32_t crop, std::span<float> out) {
  for (size_t i = 0; i < out.size(); i += 4) {
    const std::array<float, 4> z = normal_block(seed, crop, uint32_t(i / 4));
    for (size_t k = 0; k < 4 && i + k < out.size(); ++k) out[i + k] = z[k];
  }
}

void add_diffusion_noise(const DiffusionRecipe& recipe, uint32_t crop, std::span<float> x) {
  const DiffusionLevel level = diffusion_level(recipe.step);
  const float signal = float(level.signal), noise = float(level.noise);
  for (size_t i = 0; i < x.size(); i += 4) {
    const std::array<float, 4> z = normal_block(recipe.seed, crop, uint32_t(i / 4));
    for (size_t k = 0; k < 4 && i + k < x.size(); ++k) x[i + k] = signal * x[i + k] + noise * z[k];
  }
}

}  // namespace vpref
