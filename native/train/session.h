// SPDX-License-Identifier: Apache-2.0
// A training run over a loaded model: the trainer with its images, and what a run writes to and reads from disk.
// Everything runs on the engine's compute thread (Engine::run).
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

// A row with its pixels; TrainRow::images is set from them.
struct SessionRow {
  TrainRow row;
  std::vector<Image> images;
};

class TrainSession {
 public:
  // Prepares the model's weights and adds what is trained. init_adapter: a PEFT directory to go on from
  // (the model's last adapter, or added here while the model is not prepared), or empty.
  // Throws Error{"config" | "checkpoint" | "memory"}. With several ranks every rank calls everything below in the same
  // order, each with its own rows; rank 0 alone writes and reads files.
  TrainSession(Context& ctx, Model& model, TrainerOptions options, const std::string& init_adapter,
               std::unique_ptr<Collective> world = single_process());

  // Trainer::plan within what `free_bytes` (or kNoLimit) leaves after the weights that are read in place, the image
  // encoder and the pixels.
  MemoryPlan plan(std::span<const RowSize> rows, std::span<const int64_t> step_ends, int64_t free_bytes);
  // All bytes that a step of this row takes, weights and parameters too, at the level that plan() would choose where a
  // run finds `free_bytes` free and takes `share` of what parameters leave; takes none. For a session that was made
  // while ctx measured.
  struct StepBytes {
    size_t all;
    int level;  // recompute level
  };
  StepBytes measure(const RowSize& step, double free_bytes, double share);
  // These take the rows: give them with std::move where they are not needed afterwards.
  StepResult step(std::vector<SessionRow> rows);
  std::vector<RowResult> score(std::vector<SessionRow> rows, bool adapter_on);
  // The gradients of one step's loss, as safetensors under the parameters' names; no parameter changes. Returns the
  // step's figures.
  StepResult save_gradients(std::vector<SessionRow> rows, const std::string& file);

  // The trained tensors in f32 under "base_model.model." + name, and those of init_adapter that stay fixed as they are
  // there: adapter_model.safetensors of a PEFT directory.
  void save_adapter(const std::string& file);
  // Master values, AdamW moments and the number of steps; restore() takes them back bit for bit. Throws
  // Error{"checkpoint"} when they belong to other parameters.
  void save_state(const std::string& file);
  void restore(const std::string& file);

  // Tensors of init_adapter that stay fixed.
  size_t num_fixed() const { return fixed_.size(); }
  Collective& world() { return *world_; }
  Trainer& trainer() { return trainer_; }
  int64_t steps_done() const { return trainer_.steps_done(); }
  // From any thread: the running step ends before it changes anything. Cleared when the next one starts.
  void cancel() { cancelled_ = true; }

 private:
  void load_adapter(const LoadedAdapter& adapter);
  EncodeImages encoder(const std::vector<SessionRow>& rows);

  Context& ctx_;
  Model& model_;
  ImageEncoder images_;
  std::unique_ptr<Collective> world_;
  Trainer trainer_;
  const Safetensors* start_file_ = nullptr;
  std::vector<std::pair<std::string, std::string>> fixed_;  // name to write, key in start_file_
  std::atomic<bool> cancelled_ = false;
};

}  // namespace vpref
