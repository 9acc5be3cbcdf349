// SPDX-License-Identifier: Apache-2.0
// The memory of a step's activations: its size, and the recompute level.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/memory.h"
#include "train/options.h"
#include "train/pass.h"

namespace vpref {

// The memory plan of a run, known before its first step.
struct MemoryPlan {
  int level = 0;              // recompute level
  size_t activations = 0;     // bytes at this level
  int64_t largest_batch = 0;  // decoder rows of the micro-batch that needs most memory
  int64_t budget = 0;         // bytes available for activations; may be negative
  bool fits() const { return int64_t(activations) <= budget; }
};

constexpr int64_t kNoLimit = INT64_MAX;

class StepMemory {
 public:
  // pass: owns the memory. All arguments must outlive this object.
  StepMemory(Context& ctx, const ModelConfig& config, Pass& pass, const TrainerOptions& options);

  // On CUDA: allocates for a full micro-batch before the first step, because nothing is allocated between steps there.
  // Throws Error{"memory"} with the size that would fit.
  void plan_device();
  // On the CPU: chooses the recompute level for the rows of all steps (step i ends before row step_ends[i]), and
  // allocates. The level is the lowest with which the largest micro-batch fits into `budget` bytes, or the highest. On
  // CUDA: returns the plan of plan_device.
  MemoryPlan plan(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t budget);
  // The same plan without allocating, on any device.
  MemoryPlan measure(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t budget);
  // Provides memory for this micro-batch. An unplanned size still gets memory, on CUDA only from what is left. Returns
  // the recompute level if a backward follows.
  std::optional<RecomputeLevel> reserve(const MicroBatch& batch, bool keep);

  // Whether an optimizer state of `moments` bytes fits beside `parameters` bytes and the smallest activations.
  bool fits_whole_state(size_t parameters, size_t moments);
  // "activations 182 MiB for micro-batches of ...", for the user.
  std::string describe() const;

 private:
  struct Fit {
    bool fits = false;
    int64_t rows = 0;
    size_t bytes = 0;
  };
  MemoryPlan measure(std::span<const RowSize> largest, int64_t budget);
  RowSize dense_batch(int64_t rows) const;
  Fit fit_dense(int64_t rows, RecomputeLevel level, size_t budget);
  [[noreturn]] void fail(const Fit& fit, const MemorySize& memory);
  int64_t rows_that_fit();

  Context& ctx_;
  const ModelConfig& config_;
  Pass& pass_;
  const int64_t micro_batch_tokens_;
  const int recompute_;
  size_t budget_;
  RecomputeLevel level_;
  int64_t largest_batch_ = 0;     // decoder rows, as planned
  std::vector<RowSize> planned_;  // the planned sizes; none is within another. Each fits, with a backward at level_
};

// On a GPU: what is kept free of it for libraries, workspaces of ops and the image encoder.
size_t library_bytes(const MemorySize& memory);

}  // namespace vpref
