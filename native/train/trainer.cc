// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>

#include "core/error.h"
#include "core/memory.h"
#include "ops/adamw.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

namespace vpref {

namespace {

std::string join_ids(std::span<const TrainRow> rows) {
  std::string ids;
  for (const TrainRow& r : rows) ids += (ids.empty() ? "" : ", ") + r.id;
  return ids;
}

int64_t scored_tokens(const SegmentInput& s) {
  return s.scored.empty() ? int64_t(s.token_ids.size()) : std::count(s.scored.begin(), s.scored.end(), 1);
}

// Scored tokens of branch 0: what a token-averaged loss divides by.
int64_t chosen_tokens(const TrainRow& row) {
  int64_t n = 0;
  for (const SegmentInput& s : row.segments) n += s.branch == 0 ? scored_tokens(s) : 0;
  return n;
}

Tensor upload(Context& ctx, Arena& arena, const std::vector<int32_t>& values, std::initializer_list<int64_t> shape) {
  Tensor t = arena.tensor(DType::i32, shape);
  copy_to_device(ctx, t.data, values.data(), values.size() * sizeof(int32_t));
  return t;
}

TrainableOptions with_shares(TrainableOptions options, int shares) {
  options.state_shares = shares;
  return options;
}

TrainerOptions for_device(TrainerOptions options, Device device) {
  if (device != Device::cpu)  // fewer, larger products; 0.4 GiB of logits at most
    options.head_chunk_rows = std::max<int64_t>(options.head_chunk_rows, 2048);
  return options;
}

bool is_covered(const RowSize& size, std::span<const RowSize> by) {
  return std::any_of(by.begin(), by.end(), [&](const RowSize& other) { return size.is_within(other); });
}

// Keeps only sizes that may need the most.
void add_size(std::vector<RowSize>& largest, const RowSize& size) {
  if (is_covered(size, largest)) return;
  std::erase_if(largest, [&](const RowSize& other) { return other.is_within(size); });
  largest.push_back(size);
}

// What a connector takes of the arena: its images' shapes are not known where sizes alone are.
void measure_connector(Arena& arena, size_t kept, size_t scratch) {
  const auto take = [&](size_t bytes) { arena.tensor(DType::i32, {int64_t((bytes + 3) / 4)}); };
  take(kept);
  const size_t mark = arena.mark();
  take(scratch);
  arena.release(mark);
}

constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr int kMostRecompute = 3;
// On CUDA: workspaces of libraries and ops, and the image encoder's own slab.
constexpr size_t kLibraryBytes = size_t(768) << 20;

std::string binary_size(size_t bytes) {
  std::ostringstream s;
  s.precision(3);
  const bool small = double(bytes) < kGiB;
  s << double(bytes) / (small ? kGiB / 1024 : kGiB) << (small ? " MiB" : " GiB");
  return s.str();
}

}  // namespace

RowSize Trainer::size_of(const TrainRow& row) const {
  RowSize size;
  for (const ImageShape& image : row.images) {
    size.image_rows += weights_.vision->layout(image).num_rows();
    size.features += weights_.vision->num_features(image);
  }
  for (const SegmentInput& s : row.segments) {
    size.rows += int64_t(s.token_ids.size());
    if (s.branch >= 0) size.targets += scored_tokens(s);
  }
  return size;
}

// Consecutive rows of a step that go through the model together.
struct Trainer::MicroBatch {
  std::span<const TrainRow> rows;
  int64_t first_row = 0;  // index of rows[0] in the step
  TreeBatch tree;
  std::vector<ImageRef> images;    // in the order of their features
  std::vector<ImageShape> shapes;  // of those
  int64_t image_rows = 0, num_features = 0;
  std::vector<int32_t> branch_of_row;  // first branch of each row
  std::vector<int32_t> image_index;    // [T] row of the images' rows, or -1
};

// Everything the backward of a micro-batch needs; lives in the arena until the next forward.
struct Trainer::Forward {
  const MicroBatch* batch = nullptr;
  DecoderCall call;
  std::unique_ptr<AttentionPlan> plan;  // call.plan points here, also after a move
  Tensor token_ids, image_index, target_rows, targets;
  Tensor features;           // of the frozen tower
  std::vector<Tensor> kept;  // of the connector, where it is trained
  std::vector<LayerActivations> layers;
  HeadActivations head;
  std::vector<double> branch_sums;
  std::vector<int64_t> branch_tokens;
};

Trainer::Trainer(Context& ctx, const ModelConfig& config, Weights& weights, DType compute, TrainerOptions options,
                 Collective* world)
    : ctx_(ctx),
      config_(config),
      weights_(weights),
      compute_(compute),
      options_(for_device(std::move(options), ctx.device)),
      alone_(world ? nullptr : single_process()),
      world_(world ? *world : *alone_),
      trainable_(ctx, config, weights, compute,
                 with_shares(options_.trainable, options_.zero == 0 ? 1 : world_.size())),
      rope_(ctx, config.text),
      exchange_(world_, trainable_, choose_zero(), options_.bucket_bytes),
      level_(std::max(options_.recompute, 0)) {
  check(!options_.loss.empty(), "config", "loss: expected at least one term");
  check_loss_options(options_.loss, options_.loss_options);
  std::vector<std::pair<int64_t, int64_t>> kept;
  for (const Part& part : exchange_.owned()) kept.emplace_back(part.begin, part.end);
  trainable_.store.allocate_state(ctx, kept);
  if (ctx.device != Device::cpu) plan_device_memory();
}

// Takes the slab for a whole micro-batch before the first step: on the GPU nothing is allocated between steps, and what
// does not fit is said now.
void Trainer::plan_device_memory() {
  const MemorySize memory = memory_size(ctx_.device);
  const size_t reserve = std::max(memory.total / 32, kLibraryBytes);
  if (options_.memory_budget == 0) options_.memory_budget = memory.free > reserve ? memory.free - reserve : 0;
  const int64_t rows = options_.micro_batch_tokens;
  const bool fixed = options_.recompute >= 0;
  Fit fit;
  for (level_ = fixed ? options_.recompute : 0;; ++level_) {
    fit = fit_dense(rows, level_, options_.memory_budget);
    if (fit.fits || fixed || level_ == kMostRecompute) break;
  }
  if (!fit.fits) {
    int64_t fits = 0;
    for (int64_t more = fit_dense(rows, kMostRecompute, options_.memory_budget).rows; more > 0; more /= 2) {
      if (measure(dense_batch(fits + more), kMostRecompute) <= options_.memory_budget) fits += more;
    }
    throw Error("memory", cat("activations of ", rows, " packed tokens need ", fit.rows < rows ? "more than " : "",
                              binary_size(fit.bytes), " at recompute level ", level_, ", the GPU has ",
                              binary_size(options_.memory_budget), " for them (", binary_size(memory.free), " free of ",
                              binary_size(memory.total), ")",
                              fits > 0 ? cat("; with --recompute auto --batch-tokens ", fits, " would fit")
                                       : std::string("; lower --lora-r")));
  }
  largest_batch_ = rows;
  planned_ = {dense_batch(rows)};
  take_slab(fit.bytes);
}

// A micro-batch that is all images. Answers are the smaller part of what preference data packs; a batch that
// has more makes the slab grow.
RowSize Trainer::dense_batch(int64_t rows) const {
  if (!weights_.vision) return {rows, rows / 2};
  return {rows, rows / 2, rows, rows * weights_.vision->features_a_row()};
}

// From below: measuring takes the longer the more rows there are, and where few do not fit, more do not either.
Trainer::Fit Trainer::fit_dense(int64_t rows, RecomputeLevel level, size_t budget) {
  for (int64_t some = std::min<int64_t>(rows, 4096);; some = std::min(rows, 2 * some)) {
    const size_t bytes = measure(dense_batch(some), level);
    if (bytes > budget || some == rows) return {bytes <= budget, some, bytes};
  }
}

void Trainer::check_cancelled() const {
  if (ctx_.measuring()) return;
  check((!is_cancelled || !is_cancelled()) && !world_.notified(), "cancelled",
        "the step was cancelled; no parameter was changed");
}

// Optimizer state is split where all of it would not fit beside the smallest activations.
bool Trainer::choose_zero() {
  if (world_.size() == 1 || options_.zero >= 0) return world_.size() > 1 && options_.zero == 1;
  const int64_t n = trainable_.store.numel();
  size_t free = options_.memory_budget == 0
                    ? SIZE_MAX
                    : options_.memory_budget - std::min(options_.memory_budget, ParameterStore::bytes(n, 0, compute_));
  if (ctx_.device != Device::cpu && options_.memory_budget == 0) {
    const MemorySize memory = memory_size(ctx_.device);  // values and gradients are there already
    free = memory.free - std::min(memory.free, std::max(memory.total / 32, kLibraryBytes));
  }
  const size_t moments = 8 * size_t(n);
  const bool fits = free == SIZE_MAX ||
                    (moments <= free && fit_dense(options_.micro_batch_tokens, kMostRecompute, free - moments).fits);
  std::vector<double> too_large = {fits ? 0.0 : 1.0};
  world_.all_reduce(too_large, Reduce::max);
  return too_large[0] > 0;
}

// Runs one rank's share of a step. When it throws on any rank, it throws on all: there with its own error, elsewhere as
// "peer" or "cancelled".
template <class F>
void Trainer::together(F work) {
  if (world_.size() == 1) return work();
  constexpr double fine = 0, cancelled = 1, failed = 2;  // the worst of any rank counts
  std::optional<Error> own;
  world_.begin_phase();
  try {
    work();
  } catch (const Error& e) {
    own = e;
  } catch (const std::bad_alloc&) {
    own = Error("memory", "out of memory");
  }
  if (own) world_.notify();
  std::vector<double> worst = {!own ? fine : own->code() == "cancelled" ? cancelled : failed};
  world_.all_reduce(worst, Reduce::max);
  if (worst[0] == fine) return;
  if (own && own->code() != "cancelled") throw Error(own->code(), cat("rank ", world_.rank(), ": ", own->what()));
  if (worst[0] == failed) throw Error("peer", "another rank failed");
  throw Error("cancelled", "the step was cancelled; no parameter was changed");
}

// As many rows as fit micro_batch_tokens, one at least.
size_t Trainer::micro_batch_end(std::span<const RowSize> rows, size_t begin) const {
  size_t end = begin;
  int64_t tokens = 0;
  while (end < rows.size() && (end == begin || tokens + rows[end].rows <= options_.micro_batch_tokens))
    tokens += rows[end++].rows;
  return end;
}

std::vector<Trainer::MicroBatch> Trainer::micro_batches(std::span<const TrainRow> rows) const {
  std::vector<MicroBatch> batches;
  std::vector<RowSize> sizes;
  for (const TrainRow& row : rows) sizes.push_back(size_of(row));
  for (size_t begin = 0; begin < rows.size();) {
    const size_t end = micro_batch_end(sizes, begin);
    batches.push_back(micro_batch(rows.subspan(begin, end - begin), begin));
    begin = end;
  }
  return batches;
}

Trainer::MicroBatch Trainer::micro_batch(std::span<const TrainRow> rows, size_t first_row) const {
  MicroBatch b;
  b.rows = rows;
  b.first_row = int64_t(first_row);
  std::vector<int32_t> first_image_row;
  TreePacker packer(config_, /*shares_prefixes=*/false);
  for (size_t r = 0; r < rows.size(); ++r) {
    const TrainRow& row = rows[r];
    std::vector<TreeImage> images;
    for (const ImageShape& shape : row.images) {
      b.images.push_back({int32_t(first_row + r), int32_t(images.size())});
      b.shapes.push_back(shape);
      images.push_back({config_.vision->layout(shape)});
      first_image_row.push_back(int32_t(b.image_rows));
      b.image_rows += images.back().layout.num_rows();
      b.num_features += config_.vision->num_features(shape);
    }
    b.branch_of_row.push_back(packer.batch().num_branches);
    packer.add(row.segments, images, cat("row ", row.id, ": "));
    const int32_t branches = packer.batch().num_branches - b.branch_of_row.back();
    check(branches == row.num_branches(), "request", "row ", row.id, ": expected ", row.num_branches(),
          " branches, got ", branches);
  }
  b.tree = packer.take();
  b.image_index.assign(b.tree.token_ids.size(), -1);
  for (const ImagePiece& p : b.tree.images)
    std::iota(b.image_index.begin() + p.row, b.image_index.begin() + p.row + p.count,
              first_image_row[size_t(p.image)] + p.first);
  return b;
}

// One whose passes take what any of this size does; its ids and targets mean nothing, and it has no shapes.
Trainer::MicroBatch Trainer::batch_of(const RowSize& size) const {
  const auto zeros = [](int64_t count) { return std::vector<int32_t>(size_t(count), 0); };
  const int32_t rows = int32_t(size.rows);
  MicroBatch b;
  b.tree.segments = {{-1, 0, rows, {{0, rows}}}};
  b.tree.token_ids = zeros(rows);
  b.tree.positions = Positions(config_.text.num_position_axes);
  for (int32_t i = 0; i < rows; ++i) b.tree.positions.add(i);
  b.tree.target_rows = b.tree.targets = b.tree.target_branch = zeros(size.targets);
  b.tree.num_branches = 1;
  b.image_rows = size.image_rows;
  b.num_features = size.features;
  b.image_index = zeros(rows);
  return b;
}

// Bytes of the slab for a micro-batch of this size: of a forward, and where activations are kept of the backward.
size_t Trainer::measure(const RowSize& size, std::optional<RecomputeLevel> keep) {
  const MicroBatch batch = batch_of(size);
  const Measure measured(ctx_, arena_);
  Forward f = walk(batch, [](auto, const Tensor&) {}, keep);
  const double weight[] = {0};
  if (keep) backward(f, weight, /*is_last=*/false);
  return measured.bytes();
}

MemoryPlan Trainer::plan(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t budget) {
  if (ctx_.device != Device::cpu)
    return {level_, arena_.capacity(), options_.micro_batch_tokens, int64_t(options_.memory_budget)};
  std::vector<RowSize> largest;
  int64_t step_begin = 0;
  for (int64_t step_end : step_ends) {
    const std::span<const RowSize> step = rows.subspan(size_t(step_begin), size_t(step_end - step_begin));
    for (size_t begin = 0; begin < step.size();) {
      RowSize batch;
      for (const size_t end = micro_batch_end(step, begin); begin < end; ++begin) {
        batch.rows += step[begin].rows;
        batch.targets += step[begin].targets;
        batch.image_rows += step[begin].image_rows;
        batch.features += step[begin].features;
      }
      add_size(largest, batch);
    }
    step_begin = step_end;
  }
  MemoryPlan plan{.budget = budget};
  const bool is_free = options_.recompute < 0;
  for (plan.level = is_free ? 0 : options_.recompute;; ++plan.level) {
    plan.activations = 0;
    for (const RowSize& batch : largest) {
      const size_t bytes = measure(batch, plan.level);
      if (bytes <= plan.activations) continue;
      plan.activations = bytes;
      plan.largest_batch = batch.rows;
    }
    if (plan.fits() || !is_free || plan.level == kMostRecompute) break;
  }
  level_ = plan.level;
  largest_batch_ = plan.largest_batch;
  planned_ = std::move(largest);
  take_slab(plan.activations);
  return plan;
}

void Trainer::take_slab(size_t bytes) {
  if (bytes > arena_.capacity()) {
    arena_ = Arena();  // give the old slab back first
    arena_ = Arena(ctx_.device, bytes);
  }
}

std::string Trainer::memory_plan() const {
  constexpr const char* kLevels[] = {"nothing", "norms and products", "norms, products and adapter inputs",
                                     "whole layers"};
  std::string plan =
      cat(trainable_.store.numel(), " trained parameters (", binary_size(trainable_.store.bytes()),
          " with gradients and optimizer state), activations ", binary_size(arena_.capacity()),
          " for micro-batches of ", largest_batch_, " rows at recompute level ", level_, " (", kLevels[level_], ")");
  if (world_.size() > 1)
    plan += cat("; ", world_.size(), " ranks by ", world_.name(), ", optimizer state ",
                zero() ? "split over them (ZeRO-1)" : "whole on each");
  if (ctx_.device == Device::cpu) return plan;
  const MemorySize memory = memory_size(ctx_.device);
  return plan + cat("; ", binary_size(memory.free), " of the GPU's ", binary_size(memory.total), " left");
}

// A micro-batch that was not planned for still finds its memory, but on CUDA only what is left.
void Trainer::reserve(const MicroBatch& b, bool keep) {
  const RowSize size = {b.tree.num_rows(), int64_t(b.tree.targets.size()), b.image_rows, b.num_features};
  if (is_covered(size, planned_)) return;
  const size_t need = measure(size, keep ? std::optional(level_) : std::nullopt);
  check(ctx_.device == Device::cpu || need <= arena_.capacity() || need <= options_.memory_budget, "memory", "row ",
        b.rows.front().id, ": ", size.rows, " packed tokens need ", binary_size(need), " at recompute level ", level_,
        ", the GPU has ", binary_size(options_.memory_budget), " for activations");
  take_slab(need);
  if (keep) add_size(planned_, size);
}

Trainer::Forward Trainer::forward(const MicroBatch& b, const EncodeImages& encode, bool keep) {
  reserve(b, keep);
  arena_.release(0);
  return walk(b, encode, keep ? std::optional(level_) : std::nullopt);
}

// The images' planes, which are added after the first layers.
std::vector<AddedRows> Trainer::added_planes(const MicroBatch& b, const Tensor& image_features) const {
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

// keep: a backward follows, at this recompute level.
Trainer::Forward Trainer::walk(const MicroBatch& b, const EncodeImages& encode, std::optional<RecomputeLevel> keep) {
  const TreeBatch& tree = b.tree;
  const int64_t t = tree.num_rows(), num_targets = int64_t(tree.targets.size()), d = config_.text.hidden_size;

  Forward f;
  f.batch = &b;
  f.token_ids = upload(ctx_, arena_, tree.token_ids, {t});
  f.image_index = upload(ctx_, arena_, b.image_index, {t});
  f.call.config = &config_;
  f.call.rotation = rope_.at(upload(ctx_, arena_, tree.positions.by_axis(), {tree.positions.num_axes(), t}));
  f.target_rows = upload(ctx_, arena_, tree.target_rows, {num_targets});
  f.targets = upload(ctx_, arena_, tree.targets, {num_targets});
  f.plan = std::make_unique<AttentionPlan>(tree_attention_plan(tree));
  f.call.plan = f.plan.get();
  const Tensor logps = arena_.tensor(DType::f32, {num_targets});

  const Tensor x = arena_.tensor(compute_, {t, d});
  const Tensor last = arena_.tensor(compute_, {t, d});
  Tensor image_features;
  if (b.image_rows > 0) {
    const Vision& vision = *weights_.vision;
    f.features = arena_.tensor(compute_, {b.num_features, vision.feature_width()});
    encode(b.images, f.features);
    image_features = arena_.tensor(compute_, {vision.num_planes() * b.image_rows, d});
    const bool is_kept = keep && trainable_.trains_projector;
    if (ctx_.measuring())
      measure_connector(arena_, is_kept ? vision.kept_bytes(b.num_features, compute_) : 0,
                        vision.connect_bytes(b.num_features, compute_));
    else
      vision.connect(ctx_, f.features, b.shapes, image_features, is_kept ? &f.kept : nullptr, arena_);
  }
  embed(ctx_, weights_, f.token_ids, f.image_index, image_features, x);
  const std::vector<AddedRows> added = added_planes(b, image_features);
  DecoderSink sink{.before = [this](size_t) { check_cancelled(); }, .level = keep.value_or(0), .added = added};
  if (keep) sink.activations = &f.layers;
  decoder_forward(ctx_, weights_, f.call, x, last, sink, arena_);
  if (keep) f.head = make_head_activations(config_, num_targets, compute_, arena_);
  head_logps(ctx_, config_, weights_, last, {f.target_rows, f.targets, options_.head_chunk_rows},
             {logps, keep ? &f.head : nullptr}, arena_);

  std::vector<float> host(static_cast<size_t>(num_targets));
  copy_to_host(ctx_, host.data(), logps.data, host.size() * sizeof(float));
  f.branch_sums.assign(size_t(tree.num_branches), 0.0);
  f.branch_tokens.assign(size_t(tree.num_branches), 0);
  for (size_t i = 0; i < host.size(); ++i) {
    f.branch_sums[tree.target_branch[i]] += double(host[i]);
    ++f.branch_tokens[tree.target_branch[i]];
  }
  return f;
}

void Trainer::backward(Forward& f, std::span<const double> branch_weight, bool is_last) {
  const TreeBatch& tree = f.batch->tree;
  const int64_t t = tree.num_rows(), num_targets = int64_t(tree.targets.size()), d = config_.text.hidden_size;
  std::vector<float> host(static_cast<size_t>(num_targets));
  for (size_t i = 0; i < host.size(); ++i) host[i] = float(branch_weight[tree.target_branch[i]]);
  const Tensor row_weight = arena_.tensor(DType::f32, {num_targets});
  copy_to_device(ctx_, row_weight.data, host.data(), host.size() * sizeof(float));

  const Tensor dx = arena_.tensor(compute_, {t, d});
  fill(ctx_, 0, dx);
  head_logps_backward(ctx_, weights_, {f.target_rows, f.targets, options_.head_chunk_rows}, row_weight, f.head,
                      {dx, trainable_.norm_grad, trainable_.lm_head_grad}, arena_);
  const bool below = trainable_.trains_projector || trainable_.trains_language_model;
  const bool connects = trainable_.trains_projector && f.features;
  const int64_t planes = connects ? weights_.vision->num_planes() : 0, image_rows = f.batch->image_rows;
  const Tensor drows = connects ? arena_.tensor(compute_, {planes * image_rows, d}) : Tensor();
  if (connects) fill(ctx_, 0, drows);
  // Plane k is added to what layer k reads: its gradient is that of the layer's input.
  const auto take_plane = [&](size_t layer) {
    if (int64_t(layer) >= planes) return;
    scatter_add_rows(ctx_, dx, f.image_index, drows.rows(int64_t(layer) * image_rows, image_rows));
  };
  // What ranks do together cannot be left half done.
  const auto before = [&](size_t) {
    if (!is_last || world_.size() == 1) check_cancelled();
  };
  const auto after = [&](size_t layer) {
    take_plane(layer);
    if (is_last) exchange_.layer_done(ctx_, trainable_.store, int64_t(layer));
  };
  take_plane(weights_.layers.size());
  decoder_backward(ctx_, weights_, f.call, {f.layers, trainable_.layers, below, before, after}, dx, arena_);
  if (trainable_.embed_grad) scatter_add_rows(ctx_, dx, f.token_ids, trainable_.embed_grad);
  if (connects) {
    const Vision& vision = *weights_.vision;
    if (ctx_.measuring())
      measure_connector(arena_, 0, vision.connect_bytes(f.batch->num_features, compute_));
    else
      vision.connect_backward(ctx_, f.features, f.batch->shapes, f.kept, drows, trainable_.connector, arena_);
  }
}

std::vector<RowResult> Trainer::score(std::span<const TrainRow> rows, const EncodeImages& encode, bool adapter_on) {
  trainable_.enable_adapter(adapter_on);
  std::vector<RowResult> out(rows.size());
  for (const MicroBatch& b : micro_batches(rows)) {
    const Forward f = forward(b, encode, /*keep=*/false);
    for (size_t r = 0; r < b.rows.size(); ++r) {
      RowResult& result = out[size_t(b.first_row) + r];
      const auto first = b.branch_of_row[r], end = first + b.rows[r].num_branches();
      result.policy.assign(f.branch_sums.begin() + first, f.branch_sums.begin() + end);
      result.num_tokens.assign(f.branch_tokens.begin() + first, f.branch_tokens.begin() + end);
    }
  }
  trainable_.enable_adapter(true);
  return out;
}

namespace {

// The answer of a row as bytes: what a rank tells the others.
std::string answer_bytes(const SegmentInput& s) {
  std::string out(sizeof(int32_t), '\0');
  const int32_t n = int32_t(s.token_ids.size());
  std::memcpy(out.data(), &n, sizeof n);
  out.append(reinterpret_cast<const char*>(s.token_ids.data()), s.token_ids.size() * sizeof(int32_t));
  return out.append(reinterpret_cast<const char*>(s.scored.data()), s.scored.size());
}

void set_answer(const std::string& bytes, SegmentInput& s) {
  int32_t n = 0;
  std::memcpy(&n, bytes.data(), sizeof n);
  s.token_ids.resize(size_t(n));
  std::memcpy(s.token_ids.data(), bytes.data() + sizeof n, size_t(n) * sizeof(int32_t));
  const size_t scored = sizeof n + size_t(n) * sizeof(int32_t);
  s.scored.assign(bytes.begin() + int64_t(scored), bytes.end());
}

SegmentInput& answer_of(TrainRow& row) {
  return *std::find_if(row.segments.begin(), row.segments.end(), [](const SegmentInput& s) { return s.branch == 0; });
}

}  // namespace

// KTO's z_0: the mean log-ratio of answers that belong to another prompt of the batch (the next one's, on whatever
// rank), at least 0.
double Trainer::reference_point(std::span<const TrainRow> rows, const EncodeImages& encode) {
  std::vector<TrainRow> mismatched(rows.begin(), rows.end());
  std::vector<std::string> answers;
  for (TrainRow& row : mismatched) answers.push_back(answer_bytes(answer_of(row)));
  const std::vector<std::string> first_answers = world_.all_gather(answers.empty() ? "" : answers[0]);
  if (!answers.empty()) {
    const size_t size = first_answers.size();
    size_t next = (size_t(world_.rank()) + 1) % size;
    while (first_answers[next].empty()) next = (next + 1) % size;  // a rank without rows; ours is not empty
    answers.push_back(first_answers[next]);
  }
  std::vector<double> sums = {0, double(rows.size())};
  together([&] {
    for (size_t i = 0; i < mismatched.size(); ++i) set_answer(answers[i + 1], answer_of(mismatched[i]));
    const std::vector<RowResult> policy = score(mismatched, encode, true), reference = score(mismatched, encode, false);
    for (size_t i = 0; i < policy.size(); ++i) sums[0] += policy[i].policy[0] - reference[i].policy[0];
  });
  world_.all_reduce(sums, Reduce::sum);
  check(sums[1] > 1, "config", "the reference point of the loss needs at least two rows a step, got ", sums[1]);
  return std::max(0.0, sums[0] / sums[1]);
}

namespace {

// What the losses read of a row; policy and num_tokens: its branches'.
LossRow loss_row(const TrainRow& row, std::span<const double> policy, std::span<const int64_t> num_tokens) {
  LossRow record{{}, row.num_rejected, row.label, row.weight, row.beta};
  for (size_t k = 0; k < policy.size(); ++k)
    record.branches.push_back({policy[k], row.ref.empty() ? 0 : row.ref[k], num_tokens[k]});
  return record;
}

}  // namespace

// BCO's delta once the rewards of this step's rows, of all ranks, are in it: they take a forward of their own, since a
// gradient needs the mean of the whole step.
RewardMean Trainer::mean_with_rewards_of(std::span<const TrainRow> rows, const EncodeImages& encode) {
  RewardSums own;
  together([&] {
    const std::vector<RowResult> scored = score(rows, encode, true);
    for (size_t r = 0; r < rows.size(); ++r) {
      own.add(loss_row(rows[r], scored[r].policy, scored[r].num_tokens), options_.loss_options.beta);
      check(std::isfinite(own.rewards), "nonfinite", "the reward of row ", rows[r].id,
            " is not finite; no parameter was changed (rows of the step: ", join_ids(rows), ")");
    }
  });
  std::vector<double> sums = {own.rewards, own.count};
  world_.all_reduce(sums, Reduce::sum);
  return reward_mean_.with({sums[0], sums[1]});
}

// Losses of a micro-batch's rows into `result`; returns what each branch's sum weighs in the gradient.
std::vector<double> Trainer::row_losses(const MicroBatch& b, const Forward& f, const StepPoints& points,
                                        const LossTotals& totals, StepResult& result) {
  std::vector<double> weight(size_t(b.tree.num_branches), 0.0);
  const Objective objective{options_.loss, options_.loss_options};
  for (size_t r = 0; r < b.rows.size(); ++r) {
    const TrainRow& row = b.rows[r];
    const auto first = size_t(b.branch_of_row[r]), count = size_t(row.num_branches());
    const LossRow record =
        loss_row(row, std::span(f.branch_sums).subspan(first, count), std::span(f.branch_tokens).subspan(first, count));
    RowResult& out = result.rows[size_t(b.first_row) + r];
    out.loss = objective.share(record, points, totals, std::span(weight).subspan(first, count));
    for (const ResponseLogps& branch : record.branches) {
      out.policy.push_back(branch.policy);
      out.num_tokens.push_back(branch.num_tokens);
    }
    check(std::isfinite(out.loss), "nonfinite", "the loss of row ", row.id,
          " is not finite; no parameter was changed (rows of the step: ",
          join_ids(std::span<const TrainRow>(b.rows.data() - b.first_row, result.rows.size())), ")");
    result.loss += out.loss;
  }
  return weight;
}

bool Trainer::needs(bool LossInfo::* what) const {
  return std::any_of(options_.loss.begin(), options_.loss.end(),
                     [what](const LossTerm& term) { return term.info->*what; });
}

StepResult Trainer::accumulate(std::span<const TrainRow> rows, const EncodeImages& encode) {
  together([&] {
    for (const TrainRow& row : rows) {
      for (const LossTerm& term : options_.loss) {
        const LossInfo& l = *term.info;
        check(!l.needs_rejected || row.num_rejected > 0, "config", "row ", row.id, ": loss ", l.name,
              " needs a rejected answer");
        check(!l.needs_rejected_images || row.num_rejected_images > 0, "config", "row ", row.id, ": loss ", l.name,
              " needs rejected images");
        check(!l.needs_reference || int32_t(row.ref.size()) == row.num_branches(), "config", "row ", row.id, ": loss ",
              l.name, " needs ", row.num_branches(), " reference log-probabilities, got ", row.ref.size());
      }
    }
  });
  const double kl = needs(&LossInfo::needs_reference_point) ? reference_point(rows, encode) : 0;
  const RewardMean reward_mean = has_reward_mean() ? mean_with_rewards_of(rows, encode) : RewardMean();
  const StepPoints points{kl, reward_mean.mean};
  LossTotals own;
  for (const TrainRow& row : rows) own.add(row.weight, chosen_tokens(row));
  std::vector<double> sums = {own.records, own.tokens};
  world_.all_reduce(sums, Reduce::sum);
  const LossTotals totals{sums[0], sums[1]};

  trainable_.store.zero_grad(ctx_);
  StepResult result;
  result.reward_mean = reward_mean;
  result.rows.resize(rows.size());
  std::vector<MicroBatch> batches;
  std::optional<Forward> last;
  std::vector<double> weight;
  together([&] {
    batches = micro_batches(rows);
    for (const MicroBatch& b : batches) {
      if (last) backward(*last, weight, /*is_last=*/false);
      last.emplace(forward(b, encode, /*keep=*/true));
      weight = row_losses(b, *last, points, totals, result);
      result.num_rows_packed += b.tree.num_rows();
    }
  });
  if (last) backward(*last, weight, /*is_last=*/true);
  exchange_.finish(ctx_, trainable_.store);
  sums = {result.loss, double(result.num_rows_packed)};
  world_.all_reduce(sums, Reduce::sum);
  result.loss = sums[0];
  result.num_rows_packed = int64_t(sums[1]);
  result.grad_norm = exchange_.norm(ctx_, trainable_.store);
  return result;
}

StepResult Trainer::step(std::span<const TrainRow> rows, const EncodeImages& encode) {
  StepResult result = accumulate(rows, encode);
  update(result, rows);
  return result;
}

void Trainer::update(StepResult& result, std::span<const TrainRow> rows) {
  if (!std::isfinite(result.grad_norm)) {
    // Every rank sees it; one says it, with the rows of all.
    std::string ids;
    for (const std::string& some : world_.all_gather(join_ids(rows)))
      ids += (ids.empty() || some.empty() ? "" : ", ") + some;
    check(world_.rank() == 0, "peer", "the gradient is not finite");
    throw Error("nonfinite", cat("the gradient is not finite; no parameter was changed (rows of the step: ", ids, ")"));
  }
  // torch.nn.utils.clip_grad_norm_: max_norm / (norm + 1e-6), at most 1.
  const double clip =
      options_.max_grad_norm > 0 ? std::min(1.0, options_.max_grad_norm / (result.grad_norm + 1e-6)) : 1.0;
  const double factor = schedule_factor(options_.schedule, steps_done_, options_.total_steps, options_.warmup);
  result.learning_rate = options_.lr * factor;
  for (int group = 0; group < trainable_.store.num_groups(); ++group) {
    const auto [begin, end] = trainable_.store.group_range(group);
    const bool projector = group == kProjector || group == kProjectorNoDecay;
    const double lr = projector && options_.projector_lr > 0 ? options_.projector_lr : options_.lr;
    const double decay = group == kMainNoDecay || group == kProjectorNoDecay ? 0 : options_.weight_decay;
    trainable_.store.adamw(ctx_, begin, end, lr * factor, decay, steps_done_ + 1, clip);
  }
  exchange_.gather_values(ctx_, trainable_.store);
  ++steps_done_;
  reward_mean_ = result.reward_mean;
}

}  // namespace vpref
