// SPDX-License-Identifier: Apache-2.0
#include "model/image_encoder.h"

#include <algorithm>

#include "core/memory.h"

namespace vpref {

namespace {

// Enough rows for a GEMM to run at full speed; more only costs memory.
constexpr int64_t kRowsAtOnce = 1024, kRowsAtOnceCuda = 9232;

struct Counts {
  int64_t features = 0, rows = 0;
};

Counts counts_of(const Vision& vision, std::span<const Image* const> images) {
  Counts counts;
  for (const Image* image : images) {
    const ImageShape shape = image_shape(*image);
    counts.features += vision.num_features(shape);
    counts.rows += vision.layout(shape).num_rows();
  }
  return counts;
}

}  // namespace

int64_t ImageEncoder::features_at_once() const {
  return model_.device() == Device::cpu ? kRowsAtOnce : kRowsAtOnceCuda;
}

// Consecutive images that go through the tower together.
std::vector<std::span<const Image* const>> ImageEncoder::batches(std::span<const Image* const> images) const {
  std::vector<std::span<const Image* const>> out;
  for (size_t begin = 0; begin < images.size();) {
    size_t end = begin;
    int64_t features = 0;
    while (end < images.size()) {
      features += model_.vision().num_features(image_shape(*images[end]));
      if (end > begin && features > features_at_once()) break;
      ++end;
    }
    out.push_back(images.subspan(begin, end - begin));
    begin = end;
  }
  return out;
}

void ImageEncoder::reserve(int64_t num_features, int64_t largest_image) {
  num_features = std::min(num_features, std::max(features_at_once(), largest_image));
  if (num_features == 0) return;
  const Vision& vision = model_.vision();
  const DType dtype = model_.compute();
  const size_t bytes = std::max(vision.tower_bytes(num_features, dtype), vision.connect_bytes(num_features, dtype)) +
                       aligned(size_t(num_features * vision.feature_width()) * dtype_size(dtype));
  if (arena_.capacity() < bytes) arena_ = Arena(model_.device(), bytes);
}

void ImageEncoder::features(Context& ctx, std::span<const Image* const> images, const Tensor& features) {
  int64_t done = 0;
  for (const std::span<const Image* const> some : batches(images)) {
    const int64_t count = counts_of(model_.vision(), some).features;
    reserve(count, count);
    model_.vision().features(ctx, some, model_.normalisation(), features.rows(done, count), arena_);
    done += count;
  }
}

void ImageEncoder::rows(Context& ctx, std::span<const Image* const> images, const Tensor& out) {
  const Vision& vision = model_.vision();
  const int64_t planes = vision.num_planes(), total = out.dim(0) / planes, width = out.dim(1);
  int64_t done = 0;
  for (const std::span<const Image* const> some : batches(images)) {
    const auto [num_features, num_rows] = counts_of(vision, some);
    reserve(num_features, num_features);
    const size_t mark = arena_.mark();
    const Tensor x = arena_.tensor(model_.compute(), {num_features, vision.feature_width()});
    vision.features(ctx, some, model_.normalisation(), x, arena_);
    std::vector<ImageShape> shapes;
    for (const Image* image : some) shapes.push_back(image_shape(*image));
    if (planes == 1) {
      vision.connect(ctx, x, shapes, out.rows(done, num_rows), nullptr, arena_);
    } else {
      const Tensor own = staging(planes * num_rows, width);
      vision.connect(ctx, x, shapes, own, nullptr, arena_);
      for (int64_t p = 0; p < planes; ++p) {
        const Tensor from = own.rows(p * num_rows, num_rows);
        copy_on_device(ctx, out.rows(p * total + done, num_rows).data, from.data, from.bytes());
      }
    }
    done += num_rows;
    arena_.release(mark);
  }
}

Tensor ImageEncoder::staging(int64_t rows, int64_t width) {
  const size_t bytes = size_t(rows * width) * dtype_size(model_.compute());
  if (staging_.bytes() < bytes) staging_ = Buffer(model_.device(), bytes);
  return Tensor(staging_.data(), model_.compute(), {rows, width});
}

}  // namespace vpref
