// SPDX-License-Identifier: Apache-2.0
// Optimizer steps: rows in, metrics out.
//
// A step is accumulate() and update(): pack the rows into prefix trees -> one forward -> log-probability sums of every
// branch -> loss, one weight per branch -> one backward | norm, finite check, clip -> AdamW. The reference is data: the
// rows bring its sums.
//
// With several ranks, every rank has its own rows of the step. Sums over rows (loss, counts, gradients) are over all
// ranks. If one rank fails or is cancelled, the step ends on all ranks before any parameter changes.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dist/collective.h"
#include "train/gradient_exchange.h"
#include "train/losses/objective.h"
#include "train/losses/reward_mean.h"
#include "train/options.h"
#include "train/step_memory.h"

namespace vpref {

struct StepResult {
  double loss = 0;       // of all ranks
  double grad_norm = 0;  // before clipping
  double learning_rate = 0;
  int64_t num_rows_packed = 0;            // decoder rows of all micro-batches, on all ranks
  std::optional<RewardMean> reward_mean;  // includes this step's rewards; none if the loss does not read it
  std::vector<RowResult> rows;            // of this rank
};

class Trainer {
 public:
  // Changes `weights` to read the trained parameters. config, weights, encode and world must outlive this object.
  // world: null for one process. On CUDA the memory of a full micro-batch is allocated here; Error{"memory"} gives the
  // size that would fit.
  Trainer(Context& ctx, const ModelConfig& config, Weights& weights, DType compute, TrainerOptions options,
          Collective* world = nullptr);

  // Called between layers; true ends the step with Error{"cancelled"} before any parameter changes.
  std::function<bool()> is_cancelled;

  // Branch sums [rows][1+K+J] without gradients, with the trained adapter enabled or disabled.
  std::vector<RowResult> score(std::span<const TrainRow> rows, const EncodeImages& encode, bool adapter_on);

  // Forward and backward of one step; gradients stay in trainable().store, and no parameter changes. Throws
  // Error{"nonfinite"} with the ids of the rows; Error{"config"} if a row lacks an input of the loss; Error{"peer"} if
  // another rank threw one of these. With several ranks it is not cancelled once its last backward has started.
  StepResult accumulate(std::span<const TrainRow> rows, const EncodeImages& encode);

  // Changes the parameters by the step that accumulate() returned, and completes `result`. Throws Error{"nonfinite" |
  // "peer"} before any changes.
  void update(StepResult& result, std::span<const TrainRow> rows);

  // See StepMemory::plan.
  MemoryPlan plan(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t budget) {
    return memory_.plan(rows, step_ends, budget);
  }
  // StepMemory::measure.
  MemoryPlan measure(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t budget) {
    return memory_.measure(rows, step_ends, budget);
  }

  Trainable& trainable() { return trainable_; }
  Collective& world() { return world_; }
  GradientExchange& exchange() { return exchange_; }
  bool zero() const { return exchange_.zero(); }
  int64_t steps_done() const { return steps_done_; }
  void set_steps_done(int64_t steps) { steps_done_ = steps; }
  // Whether the loss reads the mean of all rewards so far; and that mean.
  bool has_reward_mean() const { return needs(&LossInfo::needs_reward_mean); }
  const RewardMean& reward_mean() const { return reward_mean_; }
  void set_reward_mean(const RewardMean& mean) { reward_mean_ = mean; }
  // "933888 trained parameters (14.2 MiB ...), activations 182 MiB at recompute level 0 for ...": for the first line of
  // a planned run.
  std::string memory_plan() const;
  size_t activation_bytes() const { return pass_.arena().capacity(); }  // allocated bytes
  size_t activation_peak() const { return pass_.arena().peak(); }       // maximum bytes in use since the allocation
  size_t peak_bytes() const { return activation_bytes() + trainable_.store.bytes(); }

 private:
  bool choose_zero();
  void check_cancelled() const;
  void check_rows(std::span<const TrainRow> rows) const;
  bool needs(bool LossInfo::* what) const;
  StepPoints points_of(std::span<const TrainRow> rows, const EncodeImages& encode, StepResult& result);
  LossTotals totals_of(std::span<const TrainRow> rows);
  BranchLogps forward(const MicroBatch& batch, const EncodeImages& encode, bool keep);
  void backward(BranchLogps& logps, std::span<const double> branch_weight, bool is_last);
  void check_finite(const StepResult& result, std::span<const TrainRow> rows);

  Context& ctx_;
  const ModelConfig& config_;
  DType compute_;
  TrainerOptions options_;
  std::unique_ptr<Collective> alone_;
  Collective& world_;
  Trainable trainable_;
  Pass pass_;
  StepMemory memory_;
  GradientExchange exchange_;  // declared after everything that a pass reads, because its constructor measures a pass
  int64_t steps_done_ = 0;
  RewardMean reward_mean_;
};

}  // namespace vpref
