// SPDX-License-Identifier: Apache-2.0
#include "input/pixels.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "support/clip.h"

namespace vpref {
namespace {

Crop ramp(int32_t height, int32_t width) {
  Crop crop{height, width, {}};
  for (int32_t i = 0; i < height * width * 3; ++i) crop.pixels.push_back(uint8_t(i * 7));
  return crop;
}

TEST(Pixels, NormalisesByScaleMeanAndStdPerChannel) {
  const Crop crop = ramp(3, 5);
  const Normalisation n = kClipNormalisation;
  std::vector<float> x(45);
  normalise(crop, n, x.data());
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 15; ++i) {
      const double expected = (crop.pixels[size_t(3 * i + c)] / 255.0 - double(n.mean[c])) / double(n.std[c]);
      EXPECT_NEAR(x[size_t(15 * c + i)], expected, 1e-6);
    }
  }
  Crop torn = crop;
  torn.pixels.pop_back();
  EXPECT_THROW(normalise(torn, n, x.data()), Error);
}

// Rows are patches in row-major order; columns are channel, line, column. Pixels beyond whole patches are dropped.
TEST(Pixels, PatchesAreInConvolutionOrder) {
  const int32_t height = 5, width = 7, patch = 2;
  std::vector<float> x(3 * height * width);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(i);
  std::vector<float> out(2 * 3 * 12);
  const std::vector<int32_t> order = {0, 1, 2, 3, 4, 5};
  patchify(x.data(), height, width, patch, 1, order, Tensor(out.data(), DType::f32, {6, 12}));
  size_t at = 0;
  for (int py = 0; py < 2; ++py) {
    for (int px = 0; px < 3; ++px) {
      for (int c = 0; c < 3; ++c) {
        for (int dy = 0; dy < 2; ++dy) {
          for (int dx = 0; dx < 2; ++dx)
            EXPECT_EQ(out[at++], float((c * height + py * patch + dy) * width + px * patch + dx));
        }
      }
    }
  }
}

TEST(Pixels, PatchesMayBeInAnyOrderAndEveryFrameHoldsTheImage) {
  std::vector<float> x(3 * 2 * 4);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(i);
  std::vector<float> out(2 * 3 * 2 * 4);
  const std::vector<int32_t> order = {1, 0};
  patchify(x.data(), 2, 4, 2, 2, order, Tensor(out.data(), DType::f32, {2, 24}));
  const std::vector<float> right = {2, 3, 6, 7}, blue_left = {16, 17, 20, 21};
  EXPECT_EQ(std::vector<float>(out.begin(), out.begin() + 4), right);
  EXPECT_EQ(std::vector<float>(out.begin() + 4, out.begin() + 8), right);
  EXPECT_EQ(std::vector<float>(out.end() - 8, out.end() - 4), blue_left);
  EXPECT_EQ(std::vector<float>(out.end() - 4, out.end()), blue_left);
}

TEST(Pixels, DiffusionIsAppliedToEachNormalisedCropWithNoiseOfItsOwn) {
  const Image clean{4, 4, {ramp(4, 4), ramp(4, 4)}, {}};
  Image noisy = clean;
  noisy.diffusion = DiffusionRecipe{999, 3};
  const Normalisation& n = kClipNormalisation;
  EXPECT_EQ(crop_pixels(clean, 0, n), crop_pixels(clean, 1, n));
  EXPECT_NE(crop_pixels(noisy, 0, n), crop_pixels(clean, 0, n));
  EXPECT_NE(crop_pixels(noisy, 0, n), crop_pixels(noisy, 1, n));
}

}  // namespace
}  // namespace vpref
