// SPDX-License-Identifier: Apache-2.0
#include "infer/image_cache.h"

#include <algorithm>
#include <cstring>

#include "core/memory.h"

namespace vpref {

uint64_t content_hash(const Image& image) {
  uint64_t h = 0xcbf29ce484222325u ^ uint64_t(image.height) << 32 ^ uint64_t(image.width);
  const auto mix = [&h](uint64_t word) {
    h = (h ^ word) * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
  };
  for (const Crop& crop : image.crops) {
    mix(uint64_t(crop.height) << 32 ^ uint64_t(crop.width));
    size_t i = 0;
    for (; i + 8 <= crop.pixels.size(); i += 8) {
      uint64_t word;
      std::memcpy(&word, crop.pixels.data() + i, 8);
      mix(word);
    }
    for (; i < crop.pixels.size(); ++i) mix(crop.pixels[i]);
  }
  if (image.diffusion) {
    mix(uint64_t(image.diffusion->step) + 1);
    mix(image.diffusion->seed);
  }
  return h;
}

size_t ImageCache::row_bytes(int64_t rows) const {
  return size_t(rows * model_.vision().num_planes() * model_.config.text.hidden_size) * dtype_size(model_.compute());
}

size_t ImageCache::entry_bytes(const ImageRows& entry) const {
  size_t bytes = row_bytes(entry.layout.num_rows());
  for (const Crop& crop : entry.image.crops) bytes += crop.pixels.size();
  return bytes;
}

std::shared_ptr<ImageRows> ImageCache::find(Image image) {
  const uint64_t hash = content_hash(image);
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto at = first; at != last; ++at) {
    if (at->second->second->image == image) {
      entries_.splice(entries_.begin(), entries_, at->second);
      return at->second->second;
    }
  }
  auto entry = std::make_shared<ImageRows>();
  entry->uid = next_uid_++;
  entry->layout = model_.vision().layout(image_shape(image));
  entry->image = std::move(image);
  make_room(entry_bytes(*entry));
  entries_.emplace_front(hash, entry);
  by_hash_.emplace(hash, entries_.begin());
  bytes_ += entry_bytes(*entry);
  return entry;
}

void ImageCache::make_room(size_t bytes) {
  for (auto at = entries_.end(); at != entries_.begin() && bytes_ + bytes > max_bytes_;) {
    --at;
    if (at->second.use_count() > 1) continue;
    const auto [a, b] = by_hash_.equal_range(at->first);
    for (auto h = a; h != b; ++h) {
      if (h->second == at) {
        by_hash_.erase(h);
        break;
      }
    }
    bytes_ -= entry_bytes(*at->second);
    if (model_.device() != Device::cpu && at->second->buffer.data()) spare_.push_back(std::move(at->second->buffer));
    at = entries_.erase(at);
  }
}

// Reuses a buffer of the same size, because allocating and freeing GPU memory stops the GPU. Buffers of other sizes are
// kept until one is allocated.
Buffer ImageCache::take_buffer(size_t bytes) {
  const auto same = std::find_if(spare_.begin(), spare_.end(), [bytes](const Buffer& b) { return b.bytes() == bytes; });
  if (same == spare_.end()) {
    spare_.clear();
    return Buffer(model_.device(), bytes);
  }
  Buffer found = std::move(*same);
  spare_.erase(same);
  return found;
}

void ImageCache::encode(Context& ctx, std::span<const std::shared_ptr<ImageRows>> entries) {
  std::vector<ImageRows*> todo;
  for (const auto& e : entries) {
    if (e->rows) continue;
    const int64_t rows = e->layout.num_rows();
    e->buffer = take_buffer(aligned(row_bytes(rows)));
    e->rows = Tensor(e->buffer.data(), model_.compute(),
                     {rows * model_.vision().num_planes(), model_.config.text.hidden_size});
    todo.push_back(e.get());
  }
  // On the CPU each image is encoded into its own buffer: several at once would need copies, and the 577 rows of one
  // fill the GEMM.
  const int64_t most = model_.device() == Device::cpu ? 256 : 9232;
  const auto count_from = [&](size_t begin) {
    size_t count = 0;
    for (int64_t rows = 0; begin + count < todo.size(); ++count) {
      rows += todo[begin + count]->layout.num_rows();
      if (count > 0 && rows > most) break;
    }
    return count;
  };
  size_t begin = 0;
  try {
    for (size_t count = 0; begin < todo.size(); begin += count) {
      count = count_from(begin);
      encode_some(ctx, std::span(todo).subspan(begin, count));
    }
  } catch (...) {
    for (; begin < todo.size(); ++begin) todo[begin]->rows = Tensor();  // not encoded: the next request does it
    throw;
  }
}

void ImageCache::encode_some(Context& ctx, std::span<ImageRows* const> todo) {
  int64_t rows = 0;
  std::vector<const Image*> images;
  for (const ImageRows* entry : todo) {
    images.push_back(&entry->image);
    rows += entry->layout.num_rows();
  }
  if (todo.size() == 1) {
    encoder_.rows(ctx, images, todo[0]->rows);
  } else {
    if (staging_.bytes() < row_bytes(rows)) staging_ = Buffer(model_.device(), row_bytes(rows));
    const int64_t planes = model_.vision().num_planes();
    const Tensor all(staging_.data(), model_.compute(), {planes * rows, model_.config.text.hidden_size});
    encoder_.rows(ctx, images, all);
    int64_t done = 0;
    for (const ImageRows* entry : todo) {
      const int64_t count = entry->layout.num_rows();
      for (int64_t p = 0; p < planes; ++p) {
        const Tensor from = all.rows(p * rows + done, count), to = entry->rows.rows(p * count, count);
        copy_on_device(ctx, to.data, from.data, from.bytes());
      }
      done += count;
    }
  }
  num_encoded_ += int64_t(todo.size());
}

}  // namespace vpref
