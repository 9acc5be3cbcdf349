// SPDX-License-Identifier: Apache-2.0
#include "train/pass.h"

#include <algorithm>

#include "core/memory.h"
#include "ops/elementwise.h"
#include "ops/rows.h"
#include "train/dropout_rows.h"

namespace vpref {

Pass::Pass(Context& ctx, const ModelConfig& config, const Weights& weights, Trainable& trainable, DType compute,
           int64_t head_chunk_rows)
    : ctx_(ctx),
      config_(config),
      weights_(weights),
      trainable_(trainable),
      compute_(compute),
      head_chunk_rows_(head_chunk_rows),
      rope_(ctx, config.text) {}

Tensor Pass::upload(const std::vector<int32_t>& values, std::initializer_list<int64_t> shape) {
  Tensor t = arena_.tensor(DType::i32, shape);
  copy_to_device(ctx_, t.data, values.data(), values.size() * sizeof(int32_t));
  return t;
}

size_t Pass::measure(const RowSize& size, std::optional<RecomputeLevel> keep) {
  const MicroBatch batch = batch_of_size(config_, size);
  const Measure measured(ctx_, arena_);
  BranchLogps f = walk(batch, [](auto, const Tensor&) {}, keep, {});
  const double weight[] = {0};
  if (keep) backward(f, weight, {});
  return measured.bytes();
}

void Pass::reserve_arena(size_t bytes) {
  if (bytes <= arena_.capacity()) return;
  arena_ = Arena();  // free the old memory first
  arena_ = Arena(ctx_.device, bytes);
}

BranchLogps Pass::forward(const MicroBatch& b, const EncodeImages& encode, std::optional<RecomputeLevel> keep,
                          const LayerHooks& hooks) {
  arena_.release(0);
  return walk(b, encode, keep, hooks);
}

BranchLogps Pass::walk(const MicroBatch& b, const EncodeImages& encode, std::optional<RecomputeLevel> keep,
                       const LayerHooks& hooks) {
  const TreeBatch& tree = b.tree;
  const int64_t t = tree.num_rows(), num_targets = int64_t(tree.targets.size()), d = config_.text.hidden_size;

  BranchLogps f;
  f.batch = &b;
  f.token_ids = upload(tree.token_ids, {t});
  f.image_index = upload(b.image_index, {t});
  f.call.config = &config_;
  f.call.rotation = rope_.at(upload(tree.positions.by_axis(), {tree.positions.num_axes(), t}));
  f.target_rows = upload(tree.target_rows, {num_targets});
  f.targets = upload(tree.targets, {num_targets});
  f.plan = std::make_unique<AttentionPlan>(tree_attention_plan(tree));
  f.call.plan = f.plan.get();
  const Tensor logps = arena_.tensor(DType::f32, {num_targets});
  if (keep && trainable_.has_dropout()) f.dropout_rows = dropout_rows(b);

  const Tensor x = arena_.tensor(compute_, {t, d});
  const Tensor last = arena_.tensor(compute_, {t, d});
  const Tensor image_features = connect(f, encode, keep && trainable_.trains_projector);
  embed(ctx_, weights_, f.token_ids, f.image_index, image_features, x);
  const std::vector<AddedRows> added = added_planes(b, image_features);
  DecoderSink sink{.before = hooks.before, .level = keep.value_or(0), .added = added};
  if (keep) sink.activations = &f.layers;
  const Trainable::Dropping dropping(trainable_, f.dropout_rows);
  decoder_forward(ctx_, weights_, f.call, x, last, sink, arena_);
  if (keep) f.head = make_head_activations(config_, num_targets, compute_, arena_);
  head_logps(ctx_, config_, weights_, last, {f.target_rows, f.targets, head_chunk_rows_},
             {logps, keep ? &f.head : nullptr}, arena_);
  read_sums(f, logps);
  return f;
}

// Dropout words of the rows, in packing order.
Tensor Pass::dropout_rows(const MicroBatch& b) {
  std::vector<int32_t> words;
  for (const TrainRow& row : b.rows) {
    int64_t count = 0;
    for (const SegmentInput& s : row.segments) count += int64_t(s.token_ids.size());
    add_dropout_rows(row.id, b.step, count, words);
  }
  words.resize(size_t(2 * b.tree.num_rows()));  // a measured batch has no rows
  return upload(words, {b.tree.num_rows(), 2});
}

// The image rows, plane by plane; empty without images.
Tensor Pass::connect(BranchLogps& f, const EncodeImages& encode, bool is_kept) {
  const MicroBatch& b = *f.batch;
  if (b.image_rows == 0) return {};
  const Vision& vision = *weights_.vision;
  f.features = arena_.tensor(compute_, {b.num_features, vision.feature_width()});
  encode(b.images, f.features);
  const Tensor rows = arena_.tensor(compute_, {vision.num_planes() * b.image_rows, config_.text.hidden_size});
  vision.connect(ctx_, f.features, b.shapes, rows, is_kept ? &f.kept : nullptr, arena_);
  return rows;
}

// The images' planes, which are added after the first layers (DeepStack).
std::vector<AddedRows> Pass::added_planes(const MicroBatch& b, const Tensor& image_features) const {
  std::vector<AddedRows> added;
  if (!weights_.vision) return added;
  const int64_t planes = std::min(weights_.vision->num_planes(), int64_t(weights_.layers.size()) + 1);
  for (int64_t plane = 1; plane < planes; ++plane) {
    for (const ImagePiece& p : b.tree.images) {
      const int64_t first = plane * b.image_rows + b.image_index[size_t(p.row)];
      added.push_back({size_t(plane - 1), p.row, image_features.rows(first, p.count)});
    }
  }
  return added;
}

void Pass::read_sums(BranchLogps& f, const Tensor& logps) {
  const TreeBatch& tree = f.batch->tree;
  std::vector<float> host(tree.targets.size());
  copy_to_host(ctx_, host.data(), logps.data, host.size() * sizeof(float));
  f.sums.assign(size_t(tree.num_branches), 0.0);
  f.num_tokens.assign(size_t(tree.num_branches), 0);
  for (size_t i = 0; i < host.size(); ++i) {
    f.sums[tree.target_branch[i]] += double(host[i]);
    ++f.num_tokens[tree.target_branch[i]];
  }
}

void Pass::backward(BranchLogps& f, std::span<const double> branch_weight, const LayerHooks& hooks) {
  const TreeBatch& tree = f.batch->tree;
  const int64_t t = tree.num_rows(), num_targets = int64_t(tree.targets.size()), d = config_.text.hidden_size;
  std::vector<float> host(static_cast<size_t>(num_targets));
  for (size_t i = 0; i < host.size(); ++i) host[i] = float(branch_weight[tree.target_branch[i]]);
  const Tensor row_weight = arena_.tensor(DType::f32, {num_targets});
  copy_to_device(ctx_, row_weight.data, host.data(), host.size() * sizeof(float));

  const Tensor dx = arena_.tensor(compute_, {t, d});
  fill(ctx_, 0, dx);
  head_logps_backward(ctx_, weights_, {f.target_rows, f.targets, head_chunk_rows_}, row_weight, f.head,
                      {dx, trainable_.norm_grad, trainable_.lm_head_grad}, arena_);
  const bool below = trainable_.trains_projector || trainable_.trains_language_model;
  const bool connects = trainable_.trains_projector && f.features;
  const int64_t planes = connects ? weights_.vision->num_planes() : 0, image_rows = f.batch->image_rows;
  const Tensor drows = connects ? arena_.tensor(compute_, {planes * image_rows, d}) : Tensor();
  if (connects) fill(ctx_, 0, drows);
  // Plane k is added to layer k's input, so its gradient is that input's gradient.
  const auto take_plane = [&](size_t layer) {
    if (int64_t(layer) >= planes) return;
    scatter_add_rows(ctx_, dx, f.image_index, drows.rows(int64_t(layer) * image_rows, image_rows));
  };
  const auto after = [&](size_t layer) {
    take_plane(layer);
    if (hooks.after) hooks.after(layer);
  };
  take_plane(weights_.layers.size());
  const Trainable::Dropping dropping(trainable_, f.dropout_rows);
  decoder_backward(ctx_, weights_, f.call, {f.layers, trainable_.layers, below, hooks.before, after}, dx, arena_);
  if (trainable_.embed_grad) scatter_add_rows(ctx_, dx, f.token_ids, trainable_.embed_grad);
  if (!connects) return;
  weights_.vision->connect_backward(ctx_, f.features, f.batch->shapes, f.kept, drows, trainable_.connector, arena_);
}

}  // namespace vpref
