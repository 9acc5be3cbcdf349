// SPDX-License-Identifier: Apache-2.0
#include "train/session.h"

#include <algorithm>

namespace vpref {

namespace {

// Steps whose pixels are in memory: the one in the engine, the next one, and the one being prepared.
constexpr size_t kStepsOfPixels = 3;

// The model, with the adapter to continue from as its last.
Model& prepared(Context& ctx, Model& model, const std::string& init_adapter) {
  const auto is_last = [&] { return !model.adapters().empty() && model.adapters().back().dir == init_adapter; };
  if (!init_adapter.empty() && !is_last()) model.add_adapter(init_adapter);
  model.prepare(ctx);
  return model;
}

TrainerOptions started(TrainerOptions options, const Model& model, const std::string& init_adapter) {
  if (!init_adapter.empty()) options.trainable.start = &model.adapters().back();
  return options;
}

// The rows without pixels; the pixels stay in `rows`.
std::vector<TrainRow> take_rows(std::vector<SessionRow>& rows) {
  std::vector<TrainRow> out;
  for (SessionRow& r : rows) {
    out.push_back(std::move(r.row));
    for (const Image& image : r.images) out.back().images.push_back(image_shape(image));
  }
  return out;
}

}  // namespace

TrainSession::TrainSession(Context& ctx, Model& model, TrainerOptions options, const std::string& init_adapter,
                           std::unique_ptr<Collective> world)
    : ctx_(ctx),
      model_(prepared(ctx, model, init_adapter)),
      images_(model),
      world_(std::move(world)),
      trainer_(ctx, model.config, model.weights, model.compute(), started(std::move(options), model, init_adapter),
               world_.get()) {
  trainer_.is_cancelled = [this] { return cancelled_.load(std::memory_order_relaxed); };
  if (!init_adapter.empty()) load_adapter(model.adapters().back());
}

EncodeImages TrainSession::encoder(const std::vector<SessionRow>& rows) {
  return [this, &rows](std::span<const ImageRef> refs, const Tensor& features) {
    std::vector<const Image*> images;
    for (const ImageRef& ref : refs) images.push_back(&rows[size_t(ref.row)].images[size_t(ref.image)]);
    images_.features(ctx_, images, features);
  };
}

MemoryPlan TrainSession::plan(const std::vector<RowSize>& rows, const std::vector<int64_t>& step_ends,
                              int64_t free_bytes) {
  int64_t max_features = 0, largest_row = 0, max_pixel_bytes = 0, begin = 0;
  for (int64_t end : step_ends) {
    int64_t features = 0, pixel_bytes = 0;
    for (; begin < end; ++begin) {
      pixel_bytes += rows[size_t(begin)].pixel_bytes;
      features += rows[size_t(begin)].features;
      largest_row = std::max(largest_row, rows[size_t(begin)].features);
    }
    max_features = std::max(max_features, features);
    max_pixel_bytes = std::max(max_pixel_bytes, pixel_bytes);
  }
  images_.reserve(ctx_, max_features, largest_row);
  const size_t taken = model_.mapped_bytes() + images_.planned_bytes() + kStepsOfPixels * size_t(max_pixel_bytes);
  return trainer_.plan(rows, step_ends, free_bytes == kNoLimit ? kNoLimit : free_bytes - int64_t(taken));
}

TrainSession::StepBytes TrainSession::measure(const RowSize& step, double free_bytes, double share) {
  const size_t made = model_.owned_bytes() + trainer_.trainable().store.bytes();  // before a run plans
  const size_t taken = model_.mapped_bytes() + images_.measure(ctx_, step.features, step.features) +
                       kStepsOfPixels * size_t(step.pixel_bytes);
  const int64_t ends[] = {1}, budget = int64_t(share * (free_bytes - double(made)) - double(taken));
  const MemoryPlan plan = trainer_.measure(std::span(&step, 1), ends, budget);
  return {made + taken + plan.activations, plan.level};
}

StepResult TrainSession::step(std::vector<SessionRow> rows) {
  cancelled_ = false;
  const std::vector<TrainRow> own = take_rows(rows);
  StepResult result = trainer_.accumulate(own, encoder(rows));
  trainer_.update(result, own);
  return result;
}

std::vector<RowResult> TrainSession::score(std::vector<SessionRow> rows, bool adapter_on) {
  cancelled_ = false;
  return trainer_.score(take_rows(rows), encoder(rows), adapter_on);
}

StepResult TrainSession::save_gradients(std::vector<SessionRow> rows, const std::string& file) {
  cancelled_ = false;
  const StepResult result = trainer_.accumulate(take_rows(rows), encoder(rows));
  write_gradients(file, result);
  return result;
}

double TrainSession::agree(double value) {
  std::vector<double> largest = {value};
  world_->all_reduce(largest, Reduce::max);
  return largest[0];
}

}  // namespace vpref
