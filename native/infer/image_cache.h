// SPDX-License-Identifier: Apache-2.0
// Projected image rows by content: an image is encoded once for all requests, branches and views that show it.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/arena.h"
#include "model/image_encoder.h"

namespace vpref {

// One image's rows [planes * R, D] in the compute dtype, R as its layout says; empty until encoded.
struct ImageRows {
  uint64_t uid = 0;  // never reused
  Image image;
  ImageLayout layout;
  Buffer buffer;
  Tensor rows;
};

// Hash of pixels and recipe. It finds candidates; equality is decided on the pixels.
uint64_t content_hash(const Image& image);

class ImageCache {
 public:
  ImageCache(const Model& model, size_t max_bytes) : model_(model), encoder_(model), max_bytes_(max_bytes) {}
  // The entry of an image with these pixels and this recipe. The least recently used unshared entries are dropped.
  std::shared_ptr<ImageRows> find(Image image);
  // Encodes the entries that are not encoded.
  void encode(Context& ctx, std::span<const std::shared_ptr<ImageRows>> entries);
  void clear() { entries_.clear(), by_hash_.clear(), bytes_ = 0; }
  ImageEncoder& encoder() { return encoder_; }
  size_t bytes() const { return bytes_; }
  int64_t num_encoded() const { return num_encoded_; }

 private:
  size_t entry_bytes(const ImageRows& entry) const;
  size_t row_bytes(int64_t rows) const;
  void make_room(size_t bytes);
  Buffer take_buffer(size_t bytes);
  void encode_some(Context& ctx, std::span<ImageRows* const> todo);

  const Model& model_;
  ImageEncoder encoder_;
  size_t max_bytes_;
  Buffer staging_;             // of several images together
  std::vector<Buffer> spare_;  // of dropped entries, on CUDA: reused for an entry of the same size
  size_t bytes_ = 0;
  uint64_t next_uid_ = 1;
  int64_t num_encoded_ = 0;
  std::list<std::pair<uint64_t, std::shared_ptr<ImageRows>>> entries_;  // hash and entry, most recently used first
  std::unordered_multimap<uint64_t, decltype(entries_)::iterator> by_hash_;
};

}  // namespace vpref
