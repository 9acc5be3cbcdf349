// SPDX-License-Identifier: Apache-2.0
// From 8-bit pixels to the rows of a patch embedding: normalise, distort, cut into patches.
#pragma once
#include "core/tensor.h"
#include "input/image.h"

namespace vpref {

// The image processor's numbers; the defaults are CLIP's.
struct Normalisation {
  double scale = 1.0 / 255.0;
  float mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
  float std[3] = {0.26862954f, 0.26130258f, 0.27577711f};
};

// out[3,H,W] f32 = (pixel * scale - mean) / std.  Source: transformers CLIPImageProcessor (rescale in f64, the rest in
// f32).
void normalise(const Image& image, const Normalisation& n, float* out);

// Rows of patches, top left to bottom right: patches[p] = [3, patch, patch] of x[3,H,W] flattened, as a convolution's
// weight stands.
//   patches: [(H / patch) * (W / patch), 3 * patch * patch] f32 or bf16. Pixels beyond the last whole patch are left
//   out.
void patchify(const float* x, int32_t height, int32_t width, int32_t patch, const Tensor& patches);

// normalise, the image's diffusion recipe if it has one, patchify.
void image_patches(const Image& image, const Normalisation& n, int32_t patch, const Tensor& patches);

}  // namespace vpref
