// SPDX-License-Identifier: Apache-2.0
// Keys and values of every layer in one block of rows; prompts and branches own contiguous regions of it, prompts share
// theirs by reference.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "core/arena.h"
#include "model/model.h"

namespace vpref {

class KvCache {
 public:
  KvCache() = default;
  KvCache(const ModelConfig& config, Device device, DType dtype, int64_t num_rows);
  // One without memory, for code that is measured.
  static KvCache measuring(const ModelConfig& config, DType dtype, int64_t num_rows);

  // Consecutive rows that return to the cache with their last owner.
  struct Region {
    KvCache* kv_cache;
    int32_t begin;
    int32_t count;
    ~Region() { kv_cache->release(begin, count); }
  };
  // The lowest free place, so that little memory is touched; null when there is none. may_grow: also rows that nobody
  // has had yet.
  std::shared_ptr<Region> take(int32_t count, bool may_grow);

  int64_t num_rows() const { return num_rows_; }
  int64_t rows_used() const { return used_; }
  int64_t rows_touched() const { return touched_; }
  size_t bytes() const { return arena_.capacity(); }
  const Tensor& keys(size_t layer) const { return keys_[layer]; }      // [N, G*E]
  const Tensor& values(size_t layer) const { return values_[layer]; }  // [N, G*E]
  // Copies rows within every layer (a beam that two others continue).
  void copy_rows(Context& ctx, int32_t from, int32_t to, int32_t count) const;
  static size_t bytes_of(const ModelConfig& config, DType dtype, int64_t num_rows);
  // The most rows, up to `most`, that `bytes` hold.
  static int64_t rows_within(size_t bytes, const ModelConfig& config, DType dtype, int64_t most);

 private:
  KvCache(const ModelConfig& config, DType dtype, int64_t num_rows, Arena arena);
  void release(int32_t begin, int32_t count);

  int64_t num_rows_ = 0, used_ = 0;
  int32_t touched_ = 0;  // memory below it is the process's own, above it nobody's yet
  Arena arena_;
  std::vector<Tensor> keys_, values_;
  std::map<int32_t, int32_t> free_;  // begin -> count, never adjacent
};

}  // namespace vpref
