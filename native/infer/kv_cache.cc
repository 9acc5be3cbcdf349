// SPDX-License-Identifier: Apache-2.0
#include "infer/kv_cache.h"

#include <algorithm>
#include <utility>

#include "core/memory.h"

namespace vpref {

KvCache::KvCache(const ModelConfig& config, Device device, DType dtype, int64_t num_rows)
    : KvCache(config, dtype, num_rows, Arena(device, bytes_of(config, dtype, num_rows))) {}

KvCache::KvCache(const ModelConfig& config, DType dtype, int64_t num_rows, Arena arena)
    : num_rows_(num_rows), arena_(std::move(arena)) {
  const int64_t width = int64_t(config.text.num_key_value_heads) * config.text.head_dim;
  for (int32_t l = 0; l < config.text.num_hidden_layers; ++l) {
    for (std::vector<Tensor>* side : {&keys_, &values_}) side->push_back(arena_.tensor(dtype, {num_rows, width}));
  }
  free_.emplace(0, int32_t(num_rows));
}

KvCache KvCache::measuring(const ModelConfig& config, DType dtype, int64_t num_rows) {
  return KvCache(config, dtype, num_rows, Arena::measuring());
}

size_t KvCache::bytes_of(const ModelConfig& config, DType dtype, int64_t num_rows) {
  return measuring(config, dtype, num_rows).arena_.peak();
}

int64_t KvCache::rows_within(size_t bytes, const ModelConfig& config, DType dtype, int64_t most) {
  int64_t fits = 0;
  for (int64_t too_many = most + 1; too_many - fits > 1;) {
    const int64_t rows = fits + (too_many - fits) / 2;
    (bytes_of(config, dtype, rows) <= bytes ? fits : too_many) = rows;
  }
  return fits;
}

std::shared_ptr<KvCache::Block> KvCache::take(int32_t count, bool may_grow) {
  for (auto at = free_.begin(); at != free_.end(); ++at) {
    const auto [begin, available] = *at;
    if (available < count || (!may_grow && begin + count > high_water_)) continue;
    free_.erase(at);
    if (available > count) free_.emplace(begin + count, available - count);
    used_ += count;
    high_water_ = std::max(high_water_, begin + count);
    return std::make_shared<Block>(this, begin, count);
  }
  return nullptr;
}

void KvCache::release(int32_t begin, int32_t count) {
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

void KvCache::copy_rows(Context& ctx, int32_t from, int32_t to, int32_t count) const {
  for (const std::vector<Tensor>* side : {&keys_, &values_}) {
    for (const Tensor& t : *side)
      copy_on_device(ctx, t.rows(to, count).data, t.rows(from, count).data, t.rows(from, count).bytes());
  }
}

}  // namespace vpref
