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
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dist/collective.h"
#include "model/decoder.h"
#include "model/head.h"
#include "model/tree.h"
#include "train/gradient_exchange.h"
#include "train/losses/objective.h"
#include "train/losses/reward_mean.h"
#include "train/schedule.h"
#include "train/trainable.h"

namespace vpref {

// One record, tokenised. Branch numbers inside `segments`: 0 the chosen (or only) answer, 1..K the rejected ones,
// K+1..K+J the chosen answer behind damaged images.
struct TrainRow {
  std::string id;
  std::vector<SegmentInput> segments;
  std::vector<ImageShape> images;   // that the segments number 0..
  int32_t num_rejected = 0;         // K
  int32_t num_rejected_images = 0;  // J
  bool label = true;                // kto
  double weight = 1;                // in the means of the losses
  double beta = 0;                  // above 0: instead of the options'
  std::vector<double> ref;          // [1+K+J] reference sums, or empty for losses that need none
  int32_t num_branches() const { return 1 + num_rejected + num_rejected_images; }
};

// Writes the vision features of image `image` of row `row` (numbers within the span given to the call) for every (row,
// image) of the call, in order, to features[N, C]. The vision tower is frozen, so this has no backward.
struct ImageRef {
  int32_t row;
  int32_t image;
};
using EncodeImages = std::function<void(std::span<const ImageRef> images, const Tensor& features)>;

struct TrainerOptions {
  TrainableOptions trainable;
  std::vector<LossTerm> loss;
  LossOptions loss_options;
  double lr = 2e-6;
  double projector_lr = 0;  // 0: the same as lr
  Schedule schedule = Schedule::cosine;
  int64_t total_steps = 1;
  int64_t warmup = 0;
  double weight_decay = 0;
  double max_grad_norm = 1;           // 0: no clipping
  int64_t micro_batch_tokens = 4096;  // packed rows of one forward; a larger single record still goes alone
  int recompute = -1;        // RecomputeLevel, or -1: the lowest that plan() finds to fit, on CUDA memory_budget
  size_t memory_budget = 0;  // CUDA: bytes for activations, 0: what the GPU has left; CPU: what decides on ZeRO-1
  int64_t head_chunk_rows = 256;
  int zero = -1;  // several ranks: split the optimizer's state over them, 0 or 1; -1: when it does not fit otherwise
  size_t bucket_bytes = 4 << 20;  // gradients are summed over ranks in pieces of at least this size
};

// What decides the memory of a row, or of the rows of a micro-batch.
struct RowSize {
  int64_t rows = 0;  // of the decoder: tokens and image rows
  int64_t targets = 0;
  int64_t image_rows = 0, features = 0;  // of distinct images
  int64_t pixel_bytes = 0;               // of their crops, on the host
  // Then it needs no more memory either.
  bool is_within(const RowSize& o) const {
    return rows <= o.rows && targets <= o.targets && image_rows <= o.image_rows && features <= o.features;
  }
};

// What a run will take, known before its first step.
struct MemoryPlan {
  int level = 0;              // recompute level
  size_t activations = 0;     // bytes of the slab at this level
  int64_t largest_batch = 0;  // decoder rows of the micro-batch that needs the most
  int64_t budget = 0;         // bytes that activations may take; may be negative
  bool fits() const { return int64_t(activations) <= budget; }
};

constexpr int64_t kNoLimit = INT64_MAX;

// What a branch of a row came to, for metrics and warnings.
struct RowResult {
  std::vector<double> policy;       // [1+K+J] sums
  std::vector<int64_t> num_tokens;  // [1+K+J]
  double loss = 0;                  // this row's share of the step's loss
};

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

  // For the rows of each step, one step after the other (step i ends before row step_ends[i]): chooses the recompute
  // level, the lowest whose slab for the largest micro-batch is within `budget` bytes or the highest, and takes the
  // slab. A larger micro-batch still finds its memory. On CUDA that was done before (plan_device_memory): this tells
  // what it came to.
  MemoryPlan plan(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t budget);

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
  size_t activation_bytes() const { return arena_.capacity(); }  // of the slab
  size_t activation_peak() const { return arena_.peak(); }       // of it in use at most, since it was taken
  size_t peak_bytes() const { return arena_.capacity() + trainable_.store.bytes(); }

 private:
  struct MicroBatch;
  struct Forward;
  void plan_device_memory();
  std::vector<MicroBatch> micro_batches(std::span<const TrainRow> rows) const;
  MicroBatch micro_batch(std::span<const TrainRow> rows, size_t first_row) const;
  size_t micro_batch_end(std::span<const RowSize> rows, size_t begin) const;
  RowSize size_of(const TrainRow& row) const;
  MicroBatch batch_of(const RowSize& size) const;
  size_t measure(const RowSize& size, std::optional<RecomputeLevel> keep);
  void reserve(const MicroBatch& batch, bool keep);
  void take_slab(size_t bytes);
  RowSize dense_batch(int64_t rows) const;
  // Whether a dense micro-batch fits a budget, and what it takes: where it does not, it or a smaller one of `rows`.
  struct Fit {
    bool fits = false;
    int64_t rows = 0;
    size_t bytes = 0;
  };
  Fit fit_dense(int64_t rows, RecomputeLevel level, size_t budget);
  Forward forward(const MicroBatch& batch, const EncodeImages& encode, bool keep);
  Forward walk(const MicroBatch& batch, const EncodeImages& encode, std::optional<RecomputeLevel> keep);
  std::vector<AddedRows> added_planes(const MicroBatch& batch, const Tensor& image_features) const;
  void backward(Forward& f, std::span<const double> branch_weight, bool is_last);
  bool needs(bool LossInfo::* what) const;
  std::vector<double> row_losses(const MicroBatch& batch, const Forward& f, const StepPoints& points,
                                 const LossTotals& totals, StepResult& result);
  bool choose_zero();
  template <class F>
  void together(F work);
  void update(StepResult& result, std::span<const TrainRow> rows);
  double reference_point(std::span<const TrainRow> rows, const EncodeImages& encode);
  RewardMean mean_with_rewards_of(std::span<const TrainRow> rows, const EncodeImages& encode);
  void check_cancelled() const;

  Context& ctx_;
  const ModelConfig& config_;
  Weights& weights_;
  DType compute_;
  TrainerOptions options_;
  std::unique_ptr<Collective> alone_;
  Collective& world_;
  Trainable trainable_;
  Arena arena_;
  RopeTables rope_;
  GradientExchange exchange_;  // after all that a pass reads: what to split is decided by measuring one
  int level_ = 0;
  int64_t largest_batch_ = 0;     // decoder rows, as planned
  std::vector<RowSize> planned_;  // none within another: the slab has room for each, and a backward at level_
  int64_t steps_done_ = 0;
  RewardMean reward_mean_;
};

}  // namespace vpref
