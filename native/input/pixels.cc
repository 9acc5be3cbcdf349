// SPDX-License-Identifier: Apache-2.0
#include "input/pixels.h"

#include <array>

#include "core/error.h"
#include "input/diffusion.h"

namespace vpref {

void normalise(const Crop& crop, const Normalisation& n, float* out) {
  const size_t area = size_t(crop.height) * size_t(crop.width);
  check(crop.pixels.size() == 3 * area, "shape", "image: expected ", 3 * area, " bytes for ", crop.height, " x ",
        crop.width, " RGB, got ", crop.pixels.size());
  for (size_t c = 0; c < 3; ++c) {
    std::array<float, 256> level;
    for (size_t v = 0; v < 256; ++v) level[v] = (float(double(v) * n.scale) - n.mean[c]) / n.std[c];
    float* plane = out + c * area;
    for (size_t i = 0; i < area; ++i) plane[i] = level[crop.pixels[3 * i + c]];
  }
}

namespace {

template <class T>
void cut(const float* x, int64_t height, int64_t width, int64_t patch, int32_t frames, std::span<const int32_t> order,
         T* out) {
  for (const int64_t place : order) {
    const int64_t top = place / (width / patch) * patch, left = place % (width / patch) * patch;
    for (int64_t c = 0; c < 3; ++c) {
      for (int32_t frame = 0; frame < frames; ++frame) {
        for (int64_t y = 0; y < patch; ++y) {
          const float* line = x + (c * height + top + y) * width + left;
          for (int64_t k = 0; k < patch; ++k) *out++ = from_f32<T>(line[k]);
        }
      }
    }
  }
}

}  // namespace

void patchify(const float* x, int32_t height, int32_t width, int32_t patch, int32_t frames,
              std::span<const int32_t> order, const Tensor& patches) {
  expect_shape("patchify", "patches", patches, {int64_t(order.size()), int64_t(3) * frames * patch * patch});
  if (patches.dtype == DType::bf16) {
    cut(x, height, width, patch, frames, order, patches.as<bf16_t>());
  } else {
    check(patches.dtype == DType::f32, "dtype", "[patchify] patches: expected f32 or bf16, got ",
          dtype_name(patches.dtype));
    cut(x, height, width, patch, frames, order, patches.as<float>());
  }
}

std::vector<float> crop_pixels(const Image& image, size_t crop, const Normalisation& n) {
  const Crop& c = image.crops[crop];
  std::vector<float> x(3 * size_t(c.height) * size_t(c.width));
  normalise(c, n, x.data());
  if (image.diffusion) add_diffusion_noise(*image.diffusion, uint32_t(crop), x);
  return x;
}

}  // namespace vpref
