// SPDX-License-Identifier: Apache-2.0
// The settings of a training run.
#pragma once
#include <vector>

#include "train/losses/loss.h"
#include "train/schedule.h"
#include "train/trainable.h"

namespace vpref {

struct TrainerOptions {
  TrainableOptions trainable;
  std::vector<LossTerm> loss;
  LossOptions loss_options;
  double lr = 2e-6;
  double projector_lr = 0;  // 0: equal to lr
  Schedule schedule = Schedule::cosine;
  int64_t total_steps = 1;
  int64_t warmup = 0;
  double weight_decay = 0;
  double max_grad_norm = 1;           // 0: no clipping
  int64_t micro_batch_tokens = 4096;  // maximum packed rows of one forward; a larger record is a micro-batch alone
  int recompute = -1;  // RecomputeLevel, or -1: the lowest for which the activations fit; on CUDA into memory_budget
  size_t memory_budget =
      0;  // CUDA: bytes for activations, 0: the GPU's free memory; CPU: the limit that decides on ZeRO-1
  int64_t head_chunk_rows = 256;
  int zero = -1;  // several ranks: split the optimizer's state over them, 0 or 1; -1: only if it does not fit otherwise
  size_t bucket_bytes = 4 << 20;  // minimum bytes per message when gradients are summed over ranks
};

}  // namespace vpref
