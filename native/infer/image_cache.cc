// SPDX-License-Identifier: Apache-2.0
#include "infer/image_cache.h"

#include <algorithm>
#include <cstring>

#include "core/memory.h"

namespace vpref {

namespace {

// Finds candidates only; equality is decided on the pixels.
uint64_t content_hash(const Image& image) {
  uint64_t h = 0xcbf29ce484222325u ^ uint64_t(image.height) << 32 ^ uint64_t(image.width);
  const auto mix = [&h](uint64_t word) {
    h = (h ^ word) * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
  };
  size_t i = 0;
  for (; i + 8 <= image.pixels.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, image.pixels.data() + i, 8);
    mix(word);
  }
  for (; i < image.pixels.size(); ++i) mix(image.pixels[i]);
  if (image.diffusion) {
    mix(uint64_t(image.diffusion->step) + 1);
    mix(image.diffusion->seed);
  }
  return h;
}

}  // namespace

size_t ImageCache::entry_bytes() const {
  const ModelConfig& c = model_.config;
  return size_t(c.num_image_rows()) * size_t(c.text.hidden_size) * dtype_size(model_.compute()) +
         3 * size_t(c.vision.image_size) * size_t(c.vision.image_size);
}

std::shared_ptr<ImageRows> ImageCache::find(Image image) {
  encoder_.check_size(image);
  const uint64_t hash = content_hash(image);
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto at = first; at != last; ++at) {
    if (at->second->second->image == image) {
      entries_.splice(entries_.begin(), entries_, at->second);
      return at->second->second;
    }
  }
  for (auto at = entries_.end(); at != entries_.begin() && bytes_ + entry_bytes() > max_bytes_;) {
    --at;
    if (at->second.use_count() > 1) continue;
    const auto [a, b] = by_hash_.equal_range(at->first);
    for (auto h = a; h != b; ++h) {
      if (h->second == at) {
        by_hash_.erase(h);
        break;
      }
    }
    if (model_.device() != Device::cpu && at->second->buffer.data()) spare_.push_back(std::move(at->second->buffer));
    at = entries_.erase(at);
    bytes_ -= entry_bytes();
  }
  auto entry = std::make_shared<ImageRows>();
  entry->uid = next_uid_++;
  entry->image = std::move(image);
  entries_.emplace_front(hash, entry);
  by_hash_.emplace(hash, entries_.begin());
  bytes_ += entry_bytes();
  return entry;
}

void ImageCache::encode(Context& ctx, std::span<const std::shared_ptr<ImageRows>> entries) {
  std::vector<ImageRows*> todo;
  for (const auto& e : entries) {
    if (e->rows) continue;
    const int64_t rows = model_.config.num_image_rows(), d = model_.config.text.hidden_size;
    if (spare_.empty()) {
      e->buffer = Buffer(model_.device(), aligned(size_t(rows * d) * dtype_size(model_.compute())));
    } else {  // taking and giving back GPU memory stops the GPU
      e->buffer = std::move(spare_.back());
      spare_.pop_back();
    }
    e->rows = Tensor(e->buffer.data(), model_.compute(), {rows, d});
    todo.push_back(e.get());
  }
  // On the CPU one image at a time lands in its own buffer; several at once need copies afterwards, and a tower of 577
  // rows fills the GEMM already.
  const int64_t small = model_.device() == Device::cpu ? 256 : 9232, rows = model_.config.num_image_rows();
  const size_t at_once = size_t(std::max<int64_t>(1, small / std::max<int64_t>(1, rows)));
  size_t begin = 0;
  try {
    for (; begin < todo.size(); begin += at_once)
      encode_some(ctx, std::span(todo).subspan(begin, std::min(at_once, todo.size() - begin)));
  } catch (...) {
    for (; begin < todo.size(); ++begin)
      todo[begin]->rows = Tensor();  // they hold nothing: the next request encodes them
    throw;
  }
}

void ImageCache::encode_some(Context& ctx, std::span<ImageRows* const> todo) {
  const int64_t rows = model_.config.num_image_rows(), d = model_.config.text.hidden_size;
  std::vector<const Image*> images;
  for (const ImageRows* entry : todo) images.push_back(&entry->image);
  if (todo.size() == 1) {
    encoder_.rows(ctx, images, todo[0]->rows);
  } else {
    const size_t bytes = size_t(int64_t(todo.size()) * rows * d) * dtype_size(model_.compute());
    if (staging_.bytes() < bytes) staging_ = Buffer(model_.device(), bytes);
    const Tensor all(staging_.data(), model_.compute(), {int64_t(todo.size()) * rows, d});
    encoder_.rows(ctx, images, all);
    for (size_t i = 0; i < todo.size(); ++i)
      copy_on_device(ctx, todo[i]->rows.data, all.rows(int64_t(i) * rows, rows).data, todo[i]->rows.bytes());
  }
  num_encoded_ += int64_t(todo.size());
}

}  // namespace vpref
