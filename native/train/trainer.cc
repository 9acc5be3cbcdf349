// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/byte_text.h"
#include "core/error.h"
#include "core/memory.h"
#include "dist/phase.h"
#include "train/step_points.h"

namespace vpref {

namespace {

TrainableOptions with_shares(TrainableOptions options, int shares) {
  options.state_shares = shares;
  return options;
}

TrainerOptions for_device(TrainerOptions options, Device device) {
  if (device != Device::cpu)  // fewer, larger products; at most 0.4 GiB of logits
    options.head_chunk_rows = std::max<int64_t>(options.head_chunk_rows, 2048);
  return options;
}

// A micro-batch's rows as the losses read them.
std::vector<LossRow> loss_rows(const BranchLogps& f) {
  std::vector<LossRow> rows;
  for (size_t r = 0; r < f.batch->rows.size(); ++r) {
    const TrainRow& row = f.batch->rows[r];
    const auto first = size_t(f.batch->branch_of_row[r]), count = size_t(row.num_branches());
    rows.push_back(
        loss_row(row, std::span(f.sums).subspan(first, count), std::span(f.num_tokens).subspan(first, count)));
  }
  return rows;
}

// Adds a micro-batch's rows to the results. Throws if a loss is not finite.
void add_results(const MicroBatch& b, std::span<const LossRow> rows, std::span<const double> losses,
                 StepResult& result) {
  for (size_t r = 0; r < rows.size(); ++r) {
    RowResult& out = result.rows[size_t(b.first_row) + r];
    out.loss = losses[r];
    for (const ResponseLogps& branch : rows[r].branches) {
      out.policy.push_back(branch.policy);
      out.num_tokens.push_back(branch.num_tokens);
    }
    check(std::isfinite(out.loss), "nonfinite", "the loss of row ", b.rows[r].id,
          " is not finite; no parameter was changed (rows of the step: ",
          join_ids(std::span<const TrainRow>(b.rows.data() - b.first_row, result.rows.size())), ")");
    result.loss += out.loss;
  }
  result.num_rows_packed += b.tree.num_rows();
}

}  // namespace

Trainer::Trainer(Context& ctx, const ModelConfig& config, Weights& weights, DType compute, TrainerOptions options,
                 Collective* world)
    : ctx_(ctx),
      config_(config),
      compute_(compute),
      options_(for_device(std::move(options), ctx.device)),
      alone_(world ? nullptr : single_process()),
      world_(world ? *world : *alone_),
      trainable_(ctx, config, weights, compute,
                 with_shares(options_.trainable, options_.zero == 0 ? 1 : world_.size())),
      pass_(ctx, config, weights, trainable_, compute, options_.head_chunk_rows),
      memory_(ctx, config, pass_, options_),
      exchange_(world_, trainable_, choose_zero(), options_.bucket_bytes) {
  check(!options_.loss.empty(), "config", "loss: expected at least one term");
  check_loss_options(options_.loss, options_.loss_options);
  std::vector<std::pair<int64_t, int64_t>> kept;
  for (const Part& part : exchange_.owned()) kept.emplace_back(part.begin, part.end);
  trainable_.store.allocate_state(ctx, kept);
  memory_.plan_device();
}

// The optimizer state is split if all of it does not fit beside the smallest activations.
bool Trainer::choose_zero() {
  if (world_.size() == 1 || options_.zero >= 0) return world_.size() > 1 && options_.zero == 1;
  const int64_t n = trainable_.store.numel();
  const bool fits = memory_.fits_whole_state(ParameterStore::bytes(n, 0, compute_), 8 * size_t(n));
  std::vector<double> too_large = {fits ? 0.0 : 1.0};
  world_.all_reduce(too_large, Reduce::max);
  return too_large[0] > 0;
}

std::string Trainer::memory_plan() const {
  std::string plan = cat(trainable_.store.numel(), " trained parameters (", binary_size(trainable_.store.bytes()),
                         " with gradients and optimizer state), ", memory_.describe());
  if (world_.size() > 1)
    plan += cat("; ", world_.size(), " ranks by ", world_.name(), ", optimizer state ",
                zero() ? "split over them (ZeRO-1)" : "complete on each");
  if (ctx_.device == Device::cpu) return plan;
  const MemorySize memory = memory_size(ctx_.device);
  return plan + cat("; ", binary_size(memory.free), " of the GPU's ", binary_size(memory.total), " left");
}

void Trainer::check_cancelled() const {
  if ((is_cancelled && is_cancelled()) || world_.notified()) throw_cancelled();
}

BranchLogps Trainer::forward(const MicroBatch& b, const EncodeImages& encode, bool keep) {
  const std::optional<RecomputeLevel> level = memory_.reserve(b, keep);
  return pass_.forward(b, encode, level, {.before = [this](size_t) { check_cancelled(); }});
}

void Trainer::backward(BranchLogps& logps, std::span<const double> branch_weight, bool is_last) {
  LayerHooks hooks;
  // Collective operations must be completed by all ranks.
  if (!is_last || world_.size() == 1) hooks.before = [this](size_t) { check_cancelled(); };
  if (is_last) hooks.after = [this](size_t layer) { exchange_.layer_done(ctx_, trainable_.store, int64_t(layer)); };
  pass_.backward(logps, branch_weight, hooks);
}

std::vector<RowResult> Trainer::score(std::span<const TrainRow> rows, const EncodeImages& encode, bool adapter_on) {
  trainable_.enable_adapter(adapter_on);
  std::vector<RowResult> out(rows.size());
  for (const MicroBatch& b : pack_micro_batches(config_, rows, options_.micro_batch_tokens)) {
    const BranchLogps f = forward(b, encode, /*keep=*/false);
    for (size_t r = 0; r < b.rows.size(); ++r) {
      RowResult& result = out[size_t(b.first_row) + r];
      const auto first = b.branch_of_row[r], end = first + b.rows[r].num_branches();
      result.policy.assign(f.sums.begin() + first, f.sums.begin() + end);
      result.num_tokens.assign(f.num_tokens.begin() + first, f.num_tokens.begin() + end);
    }
  }
  trainable_.enable_adapter(true);
  return out;
}

void Trainer::check_rows(std::span<const TrainRow> rows) const {
  for (const TrainRow& row : rows) {
    for (const LossTerm& term : options_.loss) {
      const LossInfo& l = *term.info;
      check(!l.needs_rejected || row.num_rejected > 0, "config", "row ", row.id, ": loss ", l.name,
            " needs a rejected response");
      check(!l.needs_rejected_images || row.num_rejected_images > 0, "config", "row ", row.id, ": loss ", l.name,
            " needs rejected images");
      check(!l.needs_reference || int32_t(row.ref.size()) == row.num_branches(), "config", "row ", row.id, ": loss ",
            l.name, " needs ", row.num_branches(), " reference log-probabilities, got ", row.ref.size());
    }
  }
}

bool Trainer::needs(bool LossInfo::* what) const {
  return std::any_of(options_.loss.begin(), options_.loss.end(),
                     [what](const LossTerm& term) { return term.info->*what; });
}

// Totals over all ranks.
LossTotals Trainer::totals_of(std::span<const TrainRow> rows) {
  LossTotals own;
  for (const TrainRow& row : rows) own.add(row.weight, row.num_chosen_tokens());
  std::vector<double> sums = {own.records, own.tokens};
  world_.all_reduce(sums, Reduce::sum);
  return {sums[0], sums[1]};
}

// What losses read of the whole step; with the mean of all rewards, `result` has it too.
StepPoints Trainer::points_of(std::span<const TrainRow> rows, const EncodeImages& encode, StepResult& result) {
  const auto score_rows = [&](std::span<const TrainRow> some, bool adapter_on) {
    return score(some, encode, adapter_on);
  };
  StepPoints points;
  if (needs(&LossInfo::needs_reference_point)) points.kl = reference_point(rows, world_, score_rows);
  if (!has_reward_mean()) return points;
  result.reward_mean = reward_mean_.with(rewards_of(rows, options_.loss_options.beta, world_, score_rows));
  points.reward_mean = result.reward_mean->mean;
  return points;
}

StepResult Trainer::accumulate(std::span<const TrainRow> rows, const EncodeImages& encode) {
  run_phase(world_, [&] { check_rows(rows); });
  StepResult result;
  result.rows.resize(rows.size());
  const StepPoints points = points_of(rows, encode, result);
  const LossTotals totals = totals_of(rows);
  const Objective objective{options_.loss, options_.loss_options};

  trainable_.store.zero_grad(ctx_);
  std::vector<MicroBatch> batches;
  std::optional<BranchLogps> last;
  std::vector<double> weight;
  run_phase(world_, [&] {
    batches = pack_micro_batches(config_, rows, options_.micro_batch_tokens);
    for (MicroBatch& b : batches) {
      b.step = steps_done_;
      if (last) backward(*last, weight, /*is_last=*/false);
      last.emplace(forward(b, encode, /*keep=*/true));
      const std::vector<LossRow> read = loss_rows(*last);
      weight.assign(size_t(b.tree.num_branches), 0.0);
      add_results(b, read, objective.shares(read, points, totals, weight), result);
    }
  });
  if (last) backward(*last, weight, /*is_last=*/true);
  exchange_.finish(ctx_, trainable_.store);
  std::vector<double> sums = {result.loss, double(result.num_rows_packed)};
  world_.all_reduce(sums, Reduce::sum);
  result.loss = sums[0];
  result.num_rows_packed = int64_t(sums[1]);
  result.grad_norm = exchange_.norm(ctx_, trainable_.store);
  return result;
}

// Every rank detects it; rank 0 reports it, with the rows of all ranks.
void Trainer::check_finite(const StepResult& result, std::span<const TrainRow> rows) {
  if (std::isfinite(result.grad_norm)) return;
  std::string ids;
  for (const std::string& some : world_.all_gather(join_ids(rows)))
    ids += (ids.empty() || some.empty() ? "" : ", ") + some;
  check(world_.rank() == 0, "peer", "the gradient is not finite");
  throw Error("nonfinite", cat("the gradient is not finite; no parameter was changed (rows of the step: ", ids, ")"));
}

void Trainer::update(StepResult& result, std::span<const TrainRow> rows) {
  check_finite(result, rows);
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
  if (result.reward_mean) reward_mean_ = *result.reward_mean;
}

}  // namespace vpref
