// SPDX-License-Identifier: Apache-2.0
// The memory of a step: Forward's own code is measured for the largest step, then the arena is allocated once.
#include <algorithm>
#include <numeric>

#include "core/memory.h"
#include "infer/forward.h"

namespace vpref {

// Runs a step of this size while the arena measures. Its rows and addresses are arbitrary, because the size alone
// decides the bytes.
size_t Forward::measure(const StepSize& size) {
  const std::vector<int32_t> ids(size_t(size.rows), 0);
  std::vector<int32_t> wanted(size_t(size.wanted), 0);
  std::iota(wanted.begin(), wanted.end(), 0);
  const KvRange all[] = {{0, int32_t(size.rows)}};
  StepRows step(model_.config.text.num_position_axes);
  for (int64_t i = 0; i < size.rows; ++i) step.positions.add(0);
  step.add_segment(ids, all, wanted, -1);
  step.kv_rows = ids;
  SampledTokens sampled(model_.device());
  std::vector<float> logps;

  const Measure measured(ctx_, arena_);
  const KvCache kv_cache = KvCache::measuring(model_.config, model_.compute(), size.rows);
  const auto zeros = [](int64_t count) { return std::vector<int32_t>(size_t(count), 0); };
  if (size.decodes) {
    decode(step, kv_cache, std::vector<SampleParams>(size_t(size.rows)), sampled);
    return measured.bytes();
  }
  const Tensor residual = run(step, size.cached ? &kv_cache : nullptr, size.outputs);
  const auto [num_sampled, num_scored, num_read] = size.outputs;
  sample(residual, std::vector<SampleParams>(size_t(num_sampled)), zeros(num_sampled), sampled);
  score(residual, zeros(num_scored), zeros(num_scored), logps);
  if (num_read > 0) head(residual.rows(0, std::min(num_read, head_rows_)));  // logits() at its largest
  return measured.bytes();
}

size_t Forward::measure_plan(int64_t rows) {
  const int64_t sampled = std::min(rows, kMaxSampled);
  const StepOutputs outputs = {.sampled = sampled, .scored = rows, .read = rows};
  const StepSize all = {.rows = rows, .wanted = rows, .cached = true, .outputs = outputs};
  StepSize most = all;  // the wanted rows have their own stream in the last layer
  most.wanted = most.outputs.read = std::max<int64_t>(1, rows - 1);
  return std::max({measure(all), measure(most), measure({.rows = sampled, .wanted = sampled, .decodes = true})});
}

// Measures small steps first, because measuring takes longer with more rows.
size_t Forward::plan_bytes() {
  if (plan_bytes_ > 0) return plan_bytes_;
  const size_t total = memory_size(model_.device()).total;
  for (int64_t rows = std::min<int64_t>(max_rows_, 1 << 16); plan_bytes_ == 0; rows = std::min(max_rows_, 2 * rows)) {
    const size_t bytes = measure_plan(rows);
    if (rows == max_rows_) plan_bytes_ = bytes;
    check(bytes <= total, "memory", "a step of ", max_rows_, " rows takes ", bytes, " bytes",
          rows < max_rows_ ? " and more" : "", ", there are ", total, ": lower --batch-tokens");
  }
  return plan_bytes_;
}

void Forward::forget_plan() {
  plan_bytes_ = 0;
  larger_ = {};
}

// Allocates the whole plan in the first step, so a run that only trains allocates nothing.
void Forward::reserve(const StepSize& size) {
  if (ctx_.measuring()) return;
  size_t bytes = plan_bytes();
  const auto [sampled, scored, read] = size.outputs;
  if (std::max({size.rows, sampled, scored, read}) > max_rows_) {
    if (size != larger_) larger_bytes_ = measure(size);
    larger_ = size;
    bytes = std::max(bytes, larger_bytes_);
  }
  if (arena_.capacity() < bytes) {
    arena_ = Arena();  // frees the old memory before the new is allocated
    arena_ = Arena(model_.device(), bytes);
  }
  arena_.release(0);
}

}  // namespace vpref
