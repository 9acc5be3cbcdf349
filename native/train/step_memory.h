// SPDX-License-Identifier: Apache-2.0
// The slab that a step's activations stand in: how large, and at which recompute level.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/memory.h"
#include "train/options.h"
#include "train/pass.h"

namespace vpref {

// What a run will take, known before its first step.
struct MemoryPlan {
  int level = 0;              // recompute level
  size_t activations = 0;     // bytes of the slab at this level
  int64_t largest_batch = 0;  // decoder rows of the micro-batch that needs the most
  int64_t budget = 0;         // bytes that activations may take; may be negative
  bool fits() const { return int64_t(activations) <= budget; }
};

constexpr int64_t kNoLimit = INT64_MAX;

class StepMemory {
 public:
  // pass: has the slab. All must outlive this object.
  StepMemory(Context& ctx, const ModelConfig& config, Pass& pass, const TrainerOptions& options);

  // On CUDA: takes the slab of a whole micro-batch before the first step, since nothing is allocated between steps
  // there. Throws Error{"memory"}, which says what would fit.
  void plan_device();
  // On the CPU, for the rows of each step, one step after the other (step i ends before row step_ends[i]): chooses the
  // recompute level, the lowest whose slab for the largest micro-batch is within `budget` bytes or the highest, and
  // takes the slab. On CUDA: tells what plan_device came to.
  MemoryPlan plan(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t budget);
  // The same without taking anything, on any device.
  MemoryPlan measure(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t budget);
  // Room for this micro-batch: one that was not planned for still finds its memory, but on CUDA only what is left.
  // Returns the level of what is kept where a backward follows.
  std::optional<RecomputeLevel> reserve(const MicroBatch& batch, bool keep);

  // Whether an optimizer state of `moments` bytes fits beside parameters of `parameters` and the smallest activations.
  bool fits_whole_state(size_t parameters, size_t moments);
  // "activations 182 MiB for micro-batches of ...": for people.
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
  std::vector<RowSize> planned_;  // none within another: the slab has room for each, and a backward at level_
};

// On a GPU: what is kept free of it for libraries, workspaces of ops and the image encoder.
size_t library_bytes(const MemorySize& memory);

// "14.2 MiB".
std::string binary_size(size_t bytes);

}  // namespace vpref
