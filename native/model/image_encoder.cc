// SPDX-License-Identifier: Apache-2.0
#include "model/image_encoder.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "input/pixels.h"
#include "model/linear.h"
#include "model/projector.h"
#include "model/vision_tower.h"

namespace vpref {

namespace {

// Enough rows for a GEMM to run at full speed; more only costs memory.
constexpr int64_t kRowsAtOnce = 1024, kRowsAtOnceCuda = 9232;

}  // namespace

int64_t ImageEncoder::images_at_once() const {
  const int64_t rows = model_.device() == Device::cpu ? kRowsAtOnce : kRowsAtOnceCuda;
  return std::max<int64_t>(1, rows / (model_.config.vision.num_patches() + 1));
}

void ImageEncoder::check_size(const Image& image) const {
  const VisionConfig& v = model_.config.vision;
  check(model_.config.has_vision, "request", "image: expected none for a text-only model");
  check(image.height == v.image_size && image.width == v.image_size &&
            image.pixels.size() == 3 * size_t(v.image_size) * size_t(v.image_size),
        "request", "image: expected ", v.image_size, " x ", v.image_size, " RGB pixels, got ", image.width, " x ",
        image.height, " in ", image.pixels.size(), " bytes");
}

void ImageEncoder::reserve(int64_t num_images) {
  num_images = std::min(num_images, images_at_once());
  if (num_images == 0) return;
  const ModelConfig& c = model_.config;
  const DType dtype = model_.compute();
  const int64_t patches = num_images * c.vision.num_patches(),
                inputs = 3 * int64_t(c.vision.patch_size) * c.vision.patch_size;
  const int64_t rows = num_images * c.num_image_rows();
  const size_t size = dtype_size(dtype);
  const int64_t rank = std::max(saved_rank(model_.weights.projector_1), saved_rank(model_.weights.projector_2));
  const size_t tower =
      aligned(size_t(patches * inputs) * size) + vision_scratch_bytes(c, model_.weights, num_images, dtype);
  const size_t projector =
      aligned(size_t(rows) * size_t(c.text.hidden_size) * size) + aligned(size_t(rows) * size_t(rank) * size);
  const size_t bytes = std::max(tower, projector) + aligned(size_t(rows) * size_t(c.vision.hidden_size) * size);
  if (arena_.capacity() < bytes) arena_ = Arena(model_.device(), bytes);
}

void ImageEncoder::features(Context& ctx, std::span<const Image* const> images, const Tensor& features) {
  const ModelConfig& c = model_.config;
  const int64_t num_patches = c.vision.num_patches(), inputs = 3 * int64_t(c.vision.patch_size) * c.vision.patch_size,
                rows = c.num_image_rows();
  for (const Image* image : images) check_size(*image);
  const int64_t total = int64_t(images.size()), at_once = std::min(images_at_once(), total);
  if (total == 0) return;
  reserve(at_once);
  const size_t mark = arena_.mark();
  const Tensor patches = arena_.tensor(model_.compute(), {at_once * num_patches, inputs});
  const size_t image_bytes = patches.rows(0, num_patches).bytes();
  for (int64_t begin = 0; begin < total; begin += at_once) {
    const int64_t count = std::min(at_once, total - begin);
    const Tensor device = patches.rows(0, count * num_patches);
    write_to_device(ctx, device.data, device.bytes(), image_bytes, [&](void* to, size_t first_byte, size_t bytes) {
      const Tensor host(to, model_.compute(), {int64_t(bytes / image_bytes) * num_patches, inputs});
      const int64_t first = begin + int64_t(first_byte / image_bytes);
#pragma omp parallel for num_threads(ctx.num_threads) schedule(dynamic)
      for (int64_t i = 0; i < int64_t(bytes / image_bytes); ++i) {
        image_patches(*images[size_t(first + i)], c.vision.normalisation, c.vision.patch_size,
                      host.rows(i * num_patches, num_patches));
      }
    });
    vision_tower(ctx, c, model_.weights, device, features.rows(begin * rows, count * rows), arena_);
  }
  arena_.release(mark);
}

void ImageEncoder::rows(Context& ctx, std::span<const Image* const> images, const Tensor& out) {
  const ModelConfig& c = model_.config;
  const int64_t rows = c.num_image_rows(), total = int64_t(images.size());
  if (total == 0) return;
  const int64_t at_once = std::min(images_at_once(), total);
  reserve(at_once);
  for (int64_t begin = 0; begin < total; begin += at_once) {
    const int64_t count = std::min(at_once, total - begin);
    const size_t mark = arena_.mark();
    const Tensor x = arena_.tensor(model_.compute(), {count * rows, c.vision.hidden_size});
    features(ctx, images.subspan(size_t(begin), size_t(count)), x);
    projector_forward(ctx, c, model_.weights, x, out.rows(begin * rows, count * rows), nullptr, arena_);
    arena_.release(mark);
  }
}

}  // namespace vpref
