// SPDX-License-Identifier: Apache-2.0
// Forward and backward of a micro-batch: log-probability sums of its branches, then the gradients of a weighted sum of
// them.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "model/decoder.h"
#include "model/head.h"
#include "train/micro_batch.h"
#include "train/trainable.h"

namespace vpref {

// Results of a forward, and the tensors for its backward, which live in the arena until the next forward.
struct BranchLogps {
  const MicroBatch* batch = nullptr;
  std::vector<double> sums;         // per branch
  std::vector<int64_t> num_tokens;  // per branch

  DecoderCall call;
  std::unique_ptr<AttentionPlan> plan;  // call.plan points to this, also after a move
  Tensor token_ids, image_index, target_rows, targets;
  Tensor dropout_rows;       // LoraDropout::rows, if a backward follows
  Tensor features;           // the frozen tower's features
  std::vector<Tensor> kept;  // the connector's tensors, if it is trained
  std::vector<LayerActivations> layers;
  HeadActivations head;
};

// Called around each layer; an exception from `before` ends the pass. Null: not called.
struct LayerHooks {
  std::function<void(size_t layer)> before, after;
};

class Pass {
 public:
  // head_chunk_rows: number of rows with logits at a time. All arguments must outlive this object.
  Pass(Context& ctx, const ModelConfig& config, const Weights& weights, Trainable& trainable, DType compute,
       int64_t head_chunk_rows);

  // keep: a backward follows, with this recompute level.
  BranchLogps forward(const MicroBatch& batch, const EncodeImages& encode, std::optional<RecomputeLevel> keep,
                      const LayerHooks& hooks);
  // Adds the gradients of sum(branch_weight[b] * logps.sums[b]) to the store.
  void backward(BranchLogps& logps, std::span<const double> branch_weight, const LayerHooks& hooks);

  // Arena bytes for a micro-batch of this size: of the forward and, if activations are kept, of the backward.
  size_t measure(const RowSize& size, std::optional<RecomputeLevel> keep);
  // Makes the arena at least this large.
  void reserve_arena(size_t bytes);
  const Arena& arena() const { return arena_; }

 private:
  BranchLogps walk(const MicroBatch& batch, const EncodeImages& encode, std::optional<RecomputeLevel> keep,
                   const LayerHooks& hooks);
  Tensor upload(const std::vector<int32_t>& values, std::initializer_list<int64_t> shape);
  Tensor connect(BranchLogps& f, const EncodeImages& encode, bool is_kept);
  std::vector<AddedRows> added_planes(const MicroBatch& batch, const Tensor& image_features) const;
  void read_sums(BranchLogps& f, const Tensor& logps);
  Tensor dropout_rows(const MicroBatch& batch);

  Context& ctx_;
  const ModelConfig& config_;
  const Weights& weights_;
  Trainable& trainable_;
  DType compute_;
  int64_t head_chunk_rows_;
  RopeTables rope_;
  Arena arena_;
};

}  // namespace vpref
