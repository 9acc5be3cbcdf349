// SPDX-License-Identifier: Apache-2.0
// One optimizer step after another: rows in, metrics out.
//
// A step: pack the rows into prefix trees -> one forward -> log-probability sums of every branch -> loss and one weight
// a branch -> one backward -> norm, finite check, clip -> AdamW. The reference is data: sums that came with the rows.
//
// With several ranks every rank gets its own rows of the step. Sums over rows (loss, counts, gradients) are over all
// ranks, and so is the end of a step: one rank that fails or is cancelled ends it on all before any parameter changes.
#pragma once
#include <functional>
#include <memory>
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
  double loss = 0;       // all ranks
  double grad_norm = 0;  // before clipping
  double learning_rate = 0;
  int64_t num_rows_packed = 0;  // decoder rows, all micro-batches of all ranks
  RewardMean reward_mean;       // this step's rewards included, where the loss reads it
  std::vector<RowResult> rows;  // this rank's
};

class Trainer {
 public:
  // weights are changed to read the trained parameters; config, weights, encode and world must outlive this object.
  // world: null for one process. On CUDA the slab of a whole micro-batch is taken here: Error{"memory"} says what would
  // fit.
  Trainer(Context& ctx, const ModelConfig& config, Weights& weights, DType compute, TrainerOptions options,
          Collective* world = nullptr);

  // Asked between layers; true ends the step with Error{"cancelled"} before any parameter changes. Set before step().
  std::function<bool()> is_cancelled;

  // One optimizer step. Throws Error{"nonfinite"} with the ids of the rows before any parameter changes;
  // Error{"config"} when a row lacks what the loss needs; Error{"peer"} when another rank threw one of them. With
  // several ranks a step that has begun its last backward is finished.
  StepResult step(std::span<const TrainRow> rows, const EncodeImages& encode);

  // Branch sums [rows][1+K+J] without gradients, with the trained adapter on or off.
  std::vector<RowResult> score(std::span<const TrainRow> rows, const EncodeImages& encode, bool adapter_on);

  // Forward and backward of one step without the update; gradients stay in trainable().store. For checks and
  // --save-gradients.
  StepResult accumulate(std::span<const TrainRow> rows, const EncodeImages& encode);

  // StepMemory::plan.
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
  // Whether the loss reads the mean of all rewards so far; that mean.
  bool has_reward_mean() const { return needs(&LossInfo::needs_reward_mean); }
  const RewardMean& reward_mean() const { return reward_mean_; }
  void set_reward_mean(const RewardMean& mean) { reward_mean_ = mean; }
  // "933888 trained parameters (14.2 MiB ...), activations 182 MiB at recompute level 0 for ...": for the first line of
  // a run, once it is planned.
  std::string memory_plan() const;
  size_t activation_bytes() const { return pass_.arena().capacity(); }  // of the slab
  size_t activation_peak() const { return pass_.arena().peak(); }       // of it in use at most, since it was taken
  size_t peak_bytes() const { return activation_bytes() + trainable_.store.bytes(); }

 private:
  bool choose_zero();
  void check_cancelled() const;
  void check_rows(std::span<const TrainRow> rows) const;
  bool needs(bool LossInfo::* what) const;
  LossTotals totals_of(std::span<const TrainRow> rows);
  BranchLogps forward(const MicroBatch& batch, const EncodeImages& encode, bool keep);
  void backward(BranchLogps& logps, std::span<const double> branch_weight, bool is_last);
  std::vector<double> row_losses(const BranchLogps& logps, const StepPoints& points, const LossTotals& totals,
                                 StepResult& result);
  void update(StepResult& result, std::span<const TrainRow> rows);
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
  GradientExchange exchange_;  // after all that a pass reads: what to split is decided by measuring one
  int64_t steps_done_ = 0;
  RewardMean reward_mean_;
};

}  // namespace vpref
