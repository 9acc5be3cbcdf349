// SPDX-License-Identifier: Apache-2.0
// From 8-bit pixels to the rows of a patch embedding: normalise, distort, cut into patches.
#pragma once
#include <span>
#include <vector>

#include "core/tensor.h"
#include "input/image.h"

namespace vpref {

// Constants of the image processor.
struct Normalisation {
  double scale;
  float mean[3], std[3];
};

// out[3,H,W] f32 = (pixel * scale - mean) / std.  Source: transformers CLIPImageProcessor (rescale in f64, the rest in
// f32).
void normalise(const Crop& crop, const Normalisation& n, float* out);

// Rows of patches: patches[r] = [3, frames, patch, patch] of x[3,H,W] flattened, in the order of a convolution's
// weight, with the same image in every frame.
//   order: places of the patches, y * (W / patch) + x each; pixels beyond the last whole patch are skipped.
//   patches: [order.size(), 3 * frames * patch * patch] f32 or bf16.
void patchify(const float* x, int32_t height, int32_t width, int32_t patch, int32_t frames,
              std::span<const int32_t> order, const Tensor& patches);

// The tower's input: the crop normalised as x[3,H,W], with the image's diffusion recipe if it has one.
std::vector<float> crop_pixels(const Image& image, size_t crop, const Normalisation& n);

}  // namespace vpref
