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

// Consecutive images that go through the tower together.
std::vector<std::span<const Image* const>> ImageEncoder::batches(std::span<const Image* const> images) const {
  const int64_t most = model_.device() == Device::cpu ? kRowsAtOnce : kRowsAtOnceCuda;
  std::vector<std::span<const Image* const>> out;
  for (size_t begin = 0; begin < images.size();) {
    size_t end = begin;
    int64_t rows = 0;
    while (end < images.size()) {
      rows += model_.num_features(image_shape(*images[end])) + 1;
      if (end > begin && rows > most) break;
      ++end;
    }
    out.push_back(images.subspan(begin, end - begin));
    begin = end;
  }
  return out;
}

void ImageEncoder::reserve(int64_t num_features) {
  if (num_features == 0) return;
  const ModelConfig& c = model_.config;
  const DType dtype = model_.compute();
  const int64_t each = c.vision.num_patches(), most = model_.device() == Device::cpu ? kRowsAtOnce : kRowsAtOnceCuda;
  const int64_t num_images = std::clamp<int64_t>(most / (each + 1), 1, (num_features + each - 1) / each);
  const int64_t patches = num_images * each, inputs = 3 * int64_t(c.vision.patch_size) * c.vision.patch_size;
  const int64_t rows = num_images * (each + (c.vision.drop_class_token ? 0 : 1));
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
  const int64_t num_patches = c.vision.num_patches(), inputs = 3 * int64_t(c.vision.patch_size) * c.vision.patch_size;
  int64_t done = 0;
  for (const std::span<const Image* const> some : batches(images)) {
    const int64_t count = int64_t(some.size());
    int64_t rows = 0;
    for (const Image* image : some) rows += model_.num_features(image_shape(*image));
    reserve(rows);
    const size_t mark = arena_.mark();
    const Tensor patches = arena_.tensor(model_.compute(), {count * num_patches, inputs});
    const size_t image_bytes = patches.rows(0, num_patches).bytes();
    write_to_device(ctx, patches.data, patches.bytes(), image_bytes, [&](void* to, size_t first_byte, size_t bytes) {
      const Tensor host(to, model_.compute(), {int64_t(bytes / image_bytes) * num_patches, inputs});
      const size_t first = first_byte / image_bytes;
#pragma omp parallel for num_threads(ctx.num_threads) schedule(dynamic)
      for (int64_t i = 0; i < int64_t(bytes / image_bytes); ++i) {
        const Image& image = *some[first + size_t(i)];
        patchify(crop_pixels(image, 0, model_.normalisation()).data(), image.crops[0].height, image.crops[0].width,
                 c.vision.patch_size, host.rows(i * num_patches, num_patches));
      }
    });
    vision_tower(ctx, c, model_.weights, patches, features.rows(done, rows), arena_);
    done += rows;
    arena_.release(mark);
  }
}

void ImageEncoder::rows(Context& ctx, std::span<const Image* const> images, const Tensor& out) {
  const ModelConfig& c = model_.config;
  int64_t done = 0;
  for (const std::span<const Image* const> some : batches(images)) {
    int64_t rows = 0;
    for (const Image* image : some) rows += model_.num_features(image_shape(*image));
    reserve(rows);
    const size_t mark = arena_.mark();
    const Tensor x = arena_.tensor(model_.compute(), {rows, c.vision.hidden_size});
    features(ctx, some, x);
    projector_forward(ctx, c, model_.weights, x, out.rows(done, rows), nullptr, arena_);
    done += rows;
    arena_.release(mark);
  }
}

}  // namespace vpref
