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

// Whole images of the largest size, so that the count is one that images can have.
int64_t ImageEncoder::features_together(int64_t num_features, int64_t largest_image) const {
  const int64_t largest = std::max<int64_t>(largest_image, 1);
  return std::min(num_features, (features_at_once() + largest - 1) / largest * largest);
}

size_t ImageEncoder::measure(Context& ctx, int64_t num_features, int64_t largest_image) {
  if (num_features == 0) return 0;
  num_features = features_together(num_features, largest_image);
  const Vision& vision = model_.vision();
  Arena elsewhere = Arena::measuring();
  const Tensor rows = elsewhere.tensor(
      model_.compute(),
      {vision.num_planes() * (num_features / vision.features_a_row()), model_.config.text.hidden_size});
  const Measure measured(ctx, arena_);
  encode(ctx, {}, num_features, rows);
  return measured.bytes();
}

void ImageEncoder::reserve(Context& ctx, int64_t num_features, int64_t largest_image) {
  num_features = features_together(num_features, largest_image);
  if (num_features <= reserved_) return;
  const size_t bytes = measure(ctx, num_features, largest_image);
  if (arena_.capacity() < bytes) arena_ = Arena(model_.device(), bytes);
  reserved_ = num_features;
}

void ImageEncoder::encode(Context& ctx, std::span<const Image* const> images, int64_t num_features,
                          const Tensor& rows) {
  const Vision& vision = model_.vision();
  const size_t mark = arena_.mark();
  const Tensor x = arena_.tensor(model_.compute(), {num_features, vision.feature_width()});
  vision.features(ctx, images, model_.normalisation(), x, arena_);
  std::vector<ImageShape> shapes;
  for (const Image* image : images) shapes.push_back(image_shape(*image));
  vision.connect(ctx, x, shapes, rows, nullptr, arena_);
  arena_.release(mark);
}

void ImageEncoder::features(Context& ctx, std::span<const Image* const> images, const Tensor& features) {
  int64_t done = 0;
  for (const std::span<const Image* const> some : batches(images)) {
    const int64_t count = counts_of(model_.vision(), some).features;
    reserve(ctx, count, count);
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
    reserve(ctx, num_features, num_features);
    if (planes == 1) {
      encode(ctx, some, num_features, out.rows(done, num_rows));
    } else {
      const Tensor own = staging(planes * num_rows, width);
      encode(ctx, some, num_features, own);
      for (int64_t p = 0; p < planes; ++p) {
        const Tensor from = own.rows(p * num_rows, num_rows);
        copy_on_device(ctx, out.rows(p * total + done, num_rows).data, from.data, from.bytes());
      }
    }
    done += num_rows;
  }
}

Tensor ImageEncoder::staging(int64_t rows, int64_t width) {
  const size_t bytes = size_t(rows * width) * dtype_size(model_.compute());
  if (staging_.bytes() < bytes) staging_ = Buffer(model_.device(), bytes);
  return Tensor(staging_.data(), model_.compute(), {rows, width});
}

}  // namespace vpref
