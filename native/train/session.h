// SPDX-License-Identifier: Apache-2.0
// A training run on a loaded model: the trainer, images, and the run's files. Everything runs on the engine's compute
// thread (Engine::run).
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "input/image.h"
#include "model/image_encoder.h"
#include "model/load.h"
#include "train/trainer.h"

namespace vpref {

// A row with its pixels, from which TrainRow::images is set.
struct SessionRow {
  TrainRow row;
  std::vector<Image> images;
};

class TrainSession {
 public:
  // Prepares the model's weights and adds the trained parameters. init_adapter: a PEFT directory to continue from (the
  // model's last adapter, or added here if the model is not prepared), or empty. Throws Error{"config" | "checkpoint" |
  // "memory"}. With several ranks, every rank makes the calls below in the same order, with its own rows; only rank 0
  // writes and reads files.
  TrainSession(Context& ctx, Model& model, TrainerOptions options, const std::string& init_adapter,
               std::unique_ptr<Collective> world = single_process());

  // Trainer::plan with the rest of `free_bytes` (or kNoLimit) after mapped weights, image encoder and pixels.
  MemoryPlan plan(const std::vector<RowSize>& rows, const std::vector<int64_t>& step_ends, int64_t free_bytes);
  // All bytes of a step of this row, with weights and parameters, at the level that plan() would choose if
  // `free_bytes` are free and a run may use `share` of what parameters leave. Allocates nothing. For a session that was
  // created while ctx measured.
  struct StepBytes {
    size_t all;
    int level;  // recompute level
  };
  StepBytes measure(const RowSize& step, double free_bytes, double share);
  // These take ownership of the rows: pass std::move(rows) if they are not needed afterwards.
  StepResult step(std::vector<SessionRow> rows);
  std::vector<RowResult> score(std::vector<SessionRow> rows, bool adapter_on);
  // Writes the gradients of one step's loss as safetensors, under the parameters' names; changes no parameter. Returns
  // the step's metrics.
  StepResult save_gradients(std::vector<SessionRow> rows, const std::string& file);

  // Writes adapter_model.safetensors of a PEFT directory: the trained tensors in f32 under "base_model.model." + name,
  // and the fixed tensors of init_adapter unchanged.
  void save_adapter(const std::string& file);
  // Writes master values, AdamW moments and the number of steps; restore() reads them bit for bit. Throws
  // Error{"checkpoint"} if the file is for other parameters. Returns the number of steps.
  void save_state(const std::string& file);
  int64_t restore(const std::string& file);

  // Among the ranks: the largest of their values; their texts, by rank; the end of their communication.
  double agree(double value);
  std::vector<std::string> exchange(const std::string& text) { return world_->all_gather(text); }
  void leave() { world_->leave(); }

  // Number of init_adapter's tensors that stay fixed.
  size_t num_fixed() const { return fixed_.size(); }
  Collective& world() { return *world_; }
  Trainer& trainer() { return trainer_; }
  int64_t steps_done() const { return trainer_.steps_done(); }
  // Callable from any thread: ends the running step before it changes anything. Reset when the next step starts.
  void cancel() { cancelled_ = true; }

 private:
  void load_adapter(const LoadedAdapter& adapter);
  void write_gradients(const std::string& file, const StepResult& result);
  EncodeImages encoder(const std::vector<SessionRow>& rows);

  Context& ctx_;
  Model& model_;
  ImageEncoder images_;
  std::unique_ptr<Collective> world_;
  Trainer trainer_;
  const Safetensors* start_file_ = nullptr;
  std::vector<std::pair<std::string, std::string>> fixed_;  // name to write, and key in start_file_
  std::atomic<bool> cancelled_ = false;
};

}  // namespace vpref
