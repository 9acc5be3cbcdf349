// SPDX-License-Identifier: Apache-2.0
// Keys and values of every layer. Prompts and branches own blocks of consecutive rows; prompts share blocks by
// reference.
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
  // A cache without memory, for code that is measured.
  static KvCache measuring(const ModelConfig& config, DType dtype, int64_t num_rows);

  // Consecutive rows, which become free with their last owner.
  struct Block {
    KvCache* kv_cache;
    int32_t begin;
    int32_t count;
    ~Block() { kv_cache->release(begin, count); }
  };
  // Takes the lowest free rows, so that little memory is used; null if there are none. may_grow: also rows that were
  // never used.
  std::shared_ptr<Block> take(int32_t count, bool may_grow);

  int64_t num_rows() const { return num_rows_; }
  int64_t rows_used() const { return used_; }
  int64_t high_water_rows() const { return high_water_; }
  size_t bytes() const { return arena_.capacity(); }
  const Tensor& keys(size_t layer) const { return keys_[layer]; }      // [N, G*E]
  const Tensor& values(size_t layer) const { return values_[layer]; }  // [N, G*E]
  // Copies rows within every layer, for a beam with two continuations.
  void copy_rows(Context& ctx, int32_t from, int32_t to, int32_t count) const;
  static size_t bytes_of(const ModelConfig& config, DType dtype, int64_t num_rows);
  // The largest number of rows, up to `most`, that fit into `bytes`.
  static int64_t rows_within(size_t bytes, const ModelConfig& config, DType dtype, int64_t most);

 private:
  KvCache(const ModelConfig& config, DType dtype, int64_t num_rows, Arena arena);
  void release(int32_t begin, int32_t count);

  int64_t num_rows_ = 0, used_ = 0;
  int32_t high_water_ = 0;  // rows below it have been used
  Arena arena_;
  std::vector<Tensor> keys_, values_;
  std::map<int32_t, int32_t> free_;  // begin -> count, never adjacent
};

}  // namespace vpref
