// SPDX-License-Identifier: Apache-2.0
#include "train/step_memory.h"

#include <algorithm>

#include "core/byte_text.h"
#include "core/error.h"

namespace vpref {

namespace {

constexpr RecomputeLevel kMaxRecompute = 3;
constexpr const char* kLevels[] = {"nothing", "norms and products", "norms, products and adapter inputs",
                                   "whole layers"};
// On CUDA: workspaces of libraries and ops, and the image encoder's memory.
constexpr size_t kLibraryBytes = size_t(768) << 20;

size_t free_beside_libraries(const MemorySize& memory) {
  return memory.free - std::min(memory.free, library_bytes(memory));
}

bool is_covered(const RowSize& size, std::span<const RowSize> by) {
  return std::any_of(by.begin(), by.end(), [&](const RowSize& other) { return size.is_within(other); });
}

// Keeps only sizes that are not within another.
void add_size(std::vector<RowSize>& largest, const RowSize& size) {
  if (is_covered(size, largest)) return;
  std::erase_if(largest, [&](const RowSize& other) { return other.is_within(size); });
  largest.push_back(size);
}

// The sizes of the micro-batches of all steps.
std::vector<RowSize> largest_batches(std::span<const RowSize> rows, std::span<const int64_t> step_ends,
                                     int64_t max_tokens) {
  std::vector<RowSize> largest;
  int64_t step_begin = 0;
  for (int64_t step_end : step_ends) {
    const std::span<const RowSize> step = rows.subspan(size_t(step_begin), size_t(step_end - step_begin));
    for (size_t begin = 0; begin < step.size();) {
      RowSize batch;
      for (const size_t end = micro_batch_end(step, begin, max_tokens); begin < end; ++begin) batch += step[begin];
      add_size(largest, batch);
    }
    step_begin = step_end;
  }
  return largest;
}

}  // namespace

size_t library_bytes(const MemorySize& memory) { return std::max(memory.total / 32, kLibraryBytes); }

StepMemory::StepMemory(Context& ctx, const ModelConfig& config, Pass& pass, const TrainerOptions& options)
    : ctx_(ctx),
      config_(config),
      pass_(pass),
      micro_batch_tokens_(options.micro_batch_tokens),
      recompute_(options.recompute),
      budget_(options.memory_budget),
      level_(std::max(options.recompute, 0)) {}

void StepMemory::plan_device() {
  if (ctx_.device == Device::cpu || ctx_.measuring()) return;
  const MemorySize memory = memory_size(ctx_.device);
  if (budget_ == 0) budget_ = free_beside_libraries(memory);
  const bool fixed = recompute_ >= 0;
  Fit fit;
  for (level_ = fixed ? recompute_ : 0;; ++level_) {
    fit = fit_dense(micro_batch_tokens_, level_, budget_);
    if (fit.fits || fixed || level_ == kMaxRecompute) break;
  }
  if (!fit.fits) fail(fit, memory);
  largest_batch_ = micro_batch_tokens_;
  planned_ = {dense_batch(micro_batch_tokens_)};
  pass_.reserve_arena(fit.bytes);
}

void StepMemory::fail(const Fit& fit, const MemorySize& memory) {
  const int64_t fits = rows_that_fit();
  throw Error("memory", cat("activations of ", micro_batch_tokens_, " packed tokens need ",
                            fit.rows < micro_batch_tokens_ ? "more than " : "", binary_size(fit.bytes),
                            " at recompute level ", level_, ", the GPU has ", binary_size(budget_), " for them (",
                            binary_size(memory.free), " free of ", binary_size(memory.total), ")",
                            fits > 0 ? cat("; with --recompute auto --batch-tokens ", fits, " would fit")
                                     : std::string("; lower --lora-r")));
}

int64_t StepMemory::rows_that_fit() {
  int64_t fits = 0;
  for (int64_t more = fit_dense(micro_batch_tokens_, kMaxRecompute, budget_).rows; more > 0; more /= 2) {
    if (pass_.measure(dense_batch(fits + more), kMaxRecompute) <= budget_) fits += more;
  }
  return fits;
}

// A micro-batch of images only. Responses are the smaller part of preference data; a batch with more response rows
// grows the memory.
RowSize StepMemory::dense_batch(int64_t rows) const {
  if (!config_.vision) return {rows, rows / 2};
  return {rows, rows / 2, rows, rows * config_.vision->max_features_per_row()};
}

// Whether a dense micro-batch fits into a budget, and its size: the size of the given one, or of a smaller one that
// does not fit either. Tries small sizes first, because measuring takes longer for more rows, and if few rows do not
// fit, more do not either.
StepMemory::Fit StepMemory::fit_dense(int64_t rows, RecomputeLevel level, size_t budget) {
  for (int64_t some = std::min<int64_t>(rows, 4096);; some = std::min(rows, 2 * some)) {
    const size_t bytes = pass_.measure(dense_batch(some), level);
    if (bytes > budget || some == rows) return {bytes <= budget, some, bytes};
  }
}

bool StepMemory::fits_whole_state(size_t parameters, size_t moments) {
  size_t free = budget_ - std::min(budget_, parameters);
  if (budget_ == 0) {
    if (ctx_.device == Device::cpu) return true;
    free = free_beside_libraries(memory_size(ctx_.device));  // values and gradients are allocated already
  }
  return moments <= free && fit_dense(micro_batch_tokens_, kMaxRecompute, free - moments).fits;
}

MemoryPlan StepMemory::measure(std::span<const RowSize> largest, int64_t budget) {
  MemoryPlan plan{.budget = budget};
  const bool is_free = recompute_ < 0;
  for (plan.level = is_free ? 0 : recompute_;; ++plan.level) {
    plan.activations = 0;
    for (const RowSize& batch : largest) {
      const size_t bytes = pass_.measure(batch, plan.level);
      if (bytes <= plan.activations) continue;
      plan.activations = bytes;
      plan.largest_batch = batch.rows;
    }
    if (plan.fits() || !is_free || plan.level == kMaxRecompute) return plan;
  }
}

MemoryPlan StepMemory::measure(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t budget) {
  return measure(largest_batches(rows, step_ends, micro_batch_tokens_), budget);
}

MemoryPlan StepMemory::plan(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t budget) {
  if (ctx_.device != Device::cpu) return {level_, pass_.arena().capacity(), micro_batch_tokens_, int64_t(budget_)};
  std::vector<RowSize> largest = largest_batches(rows, step_ends, micro_batch_tokens_);
  const MemoryPlan plan = measure(largest, budget);
  level_ = plan.level;
  largest_batch_ = plan.largest_batch;
  planned_ = std::move(largest);
  pass_.reserve_arena(plan.activations);
  return plan;
}

std::optional<RecomputeLevel> StepMemory::reserve(const MicroBatch& b, bool keep) {
  const std::optional<RecomputeLevel> level = keep ? std::optional(level_) : std::nullopt;
  const RowSize size = b.size();
  if (is_covered(size, planned_)) return level;
  const size_t need = pass_.measure(size, level);
  check(ctx_.device == Device::cpu || need <= pass_.arena().capacity() || need <= budget_, "memory", "row ",
        b.rows.front().id, ": ", size.rows, " packed tokens need ", binary_size(need), " at recompute level ", level_,
        ", the GPU has ", binary_size(budget_), " for activations");
  pass_.reserve_arena(need);
  if (keep) add_size(planned_, size);
  return level;
}

std::string StepMemory::describe() const {
  return cat("activations ", binary_size(pass_.arena().capacity()), " for micro-batches of ", largest_batch_,
             " rows at recompute level ", level_, " (", kLevels[level_], ")");
}

}  // namespace vpref
