// SPDX-License-Identifier: Apache-2.0
#include "infer/kv_slab.h"

#include <algorithm>

#include "core/memory.h"

namespace vpref {

KvSlab::KvSlab(const ModelConfig& config, Device device, DType dtype, int64_t num_rows)
    : num_rows_(num_rows), buffer_(device, bytes_a_row(config, dtype) * size_t(num_rows) + 64) {
  const int64_t width = int64_t(config.text.num_key_value_heads) * config.text.head_dim;
  char* at = static_cast<char*>(buffer_.data());
  for (int32_t l = 0; l < config.text.num_hidden_layers; ++l) {
    for (std::vector<Tensor>* side : {&keys_, &values_}) {
      side->push_back(Tensor(at, dtype, {num_rows, width}));
      at += side->back().bytes();
    }
  }
  free_.emplace(0, int32_t(num_rows));
}

size_t KvSlab::bytes_a_row(const ModelConfig& config, DType dtype) {
  return 2 * size_t(config.text.num_hidden_layers) * size_t(config.text.num_key_value_heads) *
         size_t(config.text.head_dim) * dtype_size(dtype);
}

std::shared_ptr<KvSlab::Region> KvSlab::take(int32_t count, bool may_grow) {
  for (auto at = free_.begin(); at != free_.end(); ++at) {
    const auto [begin, available] = *at;
    if (available < count || (!may_grow && begin + count > touched_)) continue;
    free_.erase(at);
    if (available > count) free_.emplace(begin + count, available - count);
    used_ += count;
    touched_ = std::max(touched_, begin + count);
    return std::make_shared<Region>(this, begin, count);
  }
  return nullptr;
}

void KvSlab::release(int32_t begin, int32_t count) {
  used_ -= count;
  auto next = free_.lower_bound(begin);
  if (next != free_.end() && next->first == begin + count) {
    count += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == begin) {
      before->second += count;
      return;
    }
  }
  free_.emplace(begin, count);
}

void KvSlab::copy_rows(Context& ctx, int32_t from, int32_t to, int32_t count) const {
  for (const std::vector<Tensor>* side : {&keys_, &values_}) {
    for (const Tensor& t : *side)
      copy_on_device(ctx, t.rows(to, count).data, t.rows(from, count).data, t.rows(from, count).bytes());
  }
}

}  // namespace vpref
