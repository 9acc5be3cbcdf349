// SPDX-License-Identifier: Apache-2.0
#include "train/gradient_exchange.h"

#include <algorithm>
#include <cmath>

#include "core/memory.h"
#include "ops/adamw.h"

namespace vpref {

namespace {

constexpr int64_t kMaxElements = int64_t(1) << 28;  // maximum of a bucket: 1 GiB in flight is enough

}  // namespace

GradientExchange::GradientExchange(Collective& world, const Trainable& trainable, bool zero, size_t min_bytes)
    : world_(world), zero_(zero) {
  const auto& ranges = trainable.layer_ranges();
  std::vector<bool> in_layer(trainable.store.parameters().size(), false);
  // Layers from the last to the first, in the order of the backward; their ranges are adjacent.
  for (int64_t layer = int64_t(ranges.size()) - 1; layer >= 0; --layer) {
    const Part range{ranges[size_t(layer)].first, ranges[size_t(layer)].second};
    if (range.size() == 0) continue;
    const bool joins = !buckets_.empty() && range.end == buckets_.back().range.begin &&
                       size_t(buckets_.back().range.size()) * sizeof(float) < min_bytes &&
                       buckets_.back().range.size() + range.size() <= kMaxElements;
    if (joins) {
      buckets_.back().range.begin = range.begin;
      buckets_.back().layer = layer;
    } else {
      buckets_.push_back({range, layer});
    }
  }
  // Parameters that are in no layer, or final only after the whole backward.
  std::vector<Part> taken;
  for (const Bucket& b : buckets_) taken.push_back(b.range);
  std::sort(taken.begin(), taken.end(), [](const Part& a, const Part& b) { return a.begin < b.begin; });
  taken.push_back({trainable.store.numel(), trainable.store.numel()});
  int64_t at = 0;
  for (const Part& t : taken) {
    for (; at < t.begin; at = std::min(t.begin, at + kMaxElements))
      buckets_.push_back({{at, std::min(t.begin, at + kMaxElements)}, -1});
    at = t.end;
  }
  if (!zero_ || world_.size() == 1) {
    owned_ = {{0, trainable.store.numel()}};
    return;
  }
  for (const Bucket& b : buckets_) {
    const Part mine = part_of(b.range.size(), world_.rank(), world_.size());
    if (mine.size() > 0) owned_.push_back({b.range.begin + mine.begin, b.range.begin + mine.end});
  }
  std::sort(owned_.begin(), owned_.end(), [](const Part& a, const Part& b) { return a.begin < b.begin; });
}

void GradientExchange::start(Context& ctx, ParameterStore& store, const Bucket& bucket) {
  float* data = store.flat_grad().as<float>() + bucket.range.begin;
  if (zero_)
    world_.start_reduce_scatter(ctx, data, bucket.range.size());
  else
    world_.start_all_reduce(ctx, data, bucket.range.size());
}

void GradientExchange::layer_done(Context& ctx, ParameterStore& store, int64_t layer) {
  if (world_.size() == 1) return;
  world_.progress();
  for (; num_started_ < buckets_.size() && buckets_[num_started_].layer >= layer; ++num_started_)
    start(ctx, store, buckets_[num_started_]);
}

void GradientExchange::finish(Context& ctx, ParameterStore& store) {
  if (world_.size() == 1) return;
  for (; num_started_ < buckets_.size(); ++num_started_) start(ctx, store, buckets_[num_started_]);
  world_.wait(ctx);
  num_started_ = 0;
}

double GradientExchange::norm(Context& ctx, const ParameterStore& store) {
  const Tensor grad = store.flat_grad();
  if (world_.size() == 1) return std::sqrt(sum_of_squares(ctx, grad));
  // One sum per part, added in a fixed order.
  const size_t size = size_t(world_.size());
  std::vector<double> sums(buckets_.size() * size, 0.0);
  for (size_t b = 0; b < buckets_.size(); ++b) {
    for (size_t r = 0; r < size; ++r) {
      if (zero_ && int(r) != world_.rank()) continue;
      const Part part = part_of(buckets_[b].range.size(), int(r), world_.size());
      if (part.size() > 0)
        sums[b * size + r] = sum_of_squares(ctx, grad.rows(buckets_[b].range.begin + part.begin, part.size()));
    }
  }
  if (zero_) world_.all_reduce(sums, Reduce::sum);
  double total = 0;
  for (const double s : sums) total += s;
  return std::sqrt(total);
}

void GradientExchange::gather(Context& ctx, const Tensor& flat) {
  if (!zero_ || world_.size() == 1) return;
  for (const Bucket& b : buckets_)
    world_.start_all_gather(ctx, flat.rows(b.range.begin, b.range.size()).data, b.range.size(), flat.dtype);
  world_.wait(ctx);
}

void GradientExchange::gather_values(Context& ctx, ParameterStore& store) {
  if (!zero_ || world_.size() == 1) return;
  gather(ctx, store.flat_master());
  store.refresh_copy(ctx);
}

void GradientExchange::gather_gradients(Context& ctx, ParameterStore& store) { gather(ctx, store.flat_grad()); }

std::vector<float> GradientExchange::collect_moment(Context& ctx, const ParameterStore& store, bool second) {
  std::vector<float> all(world_.rank() == 0 ? size_t(store.numel()) : 0);
  const auto moment = [&](const ParameterStore::State& s) {
    return second ? store.second_moment(s) : store.first_moment(s);
  };
  if (!zero_ || world_.size() == 1) {
    for (const ParameterStore::State& s : store.states()) {
      if (!all.empty())
        copy_to_host(ctx, all.data() + s.begin, moment(s).data, size_t(s.end - s.begin) * sizeof(float));
    }
    return all;
  }
  for (const Bucket& b : buckets_) {
    const Buffer whole(ctx.device, size_t(b.range.size()) * sizeof(float));
    float* data = static_cast<float*>(whole.data());
    for (const ParameterStore::State& s : store.states()) {
      if (s.begin >= b.range.begin && s.end <= b.range.end)
        copy_on_device(ctx, data + (s.begin - b.range.begin), moment(s).data, moment(s).bytes());
    }
    world_.start_all_gather(ctx, data, b.range.size(), DType::f32);
    world_.wait(ctx);
    if (!all.empty()) copy_to_host(ctx, all.data() + b.range.begin, data, size_t(b.range.size()) * sizeof(float));
  }
  return all;
}

}  // namespace vpref
