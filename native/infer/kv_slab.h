// SPDX-License-Identifier: Apache-2.0
// Keys and values of every layer in one slab of rows; prompts and branches own contiguous regions of it, prompts share
// theirs by reference.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "core/arena.h"
#include "model/model.h"

namespace vpref {

class KvSlab {
 public:
  KvSlab() = default;
  KvSlab(const ModelConfig& config, Device device, DType dtype, int64_t num_rows);

  // Consecutive rows that return to the slab with their last owner.
  struct Region {
    KvSlab* slab;
    int32_t begin;
    int32_t count;
    ~Region() { slab->release(begin, count); }
  };
  // The lowest free place, so that little memory is touched; null when there is none. may_grow: also rows that nobody
  // has had yet.
  std::shared_ptr<Region> take(int32_t count, bool may_grow);

  int64_t num_rows() const { return num_rows_; }
  int64_t rows_used() const { return used_; }
  int64_t rows_touched() const { return touched_; }
  size_t bytes() const { return buffer_.bytes(); }
  const Tensor& keys(size_t layer) const { return keys_[layer]; }      // [N, G*E]
  const Tensor& values(size_t layer) const { return values_[layer]; }  // [N, G*E]
  // Copies rows within every layer (a beam that two others continue).
  void copy_rows(Context& ctx, int32_t from, int32_t to, int32_t count) const;
  static size_t bytes_a_row(const ModelConfig& config, DType dtype);

 private:
  void release(int32_t begin, int32_t count);

  int64_t num_rows_ = 0, used_ = 0;
  int32_t touched_ = 0;  // memory below it is the process's own, above it nobody's yet
  Buffer buffer_;
  std::vector<Tensor> keys_, values_;
  std::map<int32_t, int32_t> free_;  // begin -> count, never adjacent
};

}  // namespace vpref
