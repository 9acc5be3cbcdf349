// SPDX-License-Identifier: Apache-2.0
// Quantities of a whole step that losses read before any row has a loss: a forward of their own, without gradients.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "dist/collective.h"
#include "train/losses/reward_mean.h"
#include "train/row.h"

namespace vpref {

using ScoreRows = std::function<std::vector<RowResult>(std::span<const TrainRow> rows, bool adapter_on)>;

// A row as the losses read it; policy and num_tokens are per branch.
LossRow loss_row(const TrainRow& row, std::span<const double> policy, std::span<const int64_t> num_tokens);

// KTO's z_0: the mean log-ratio of responses under another prompt of the step (the next one's, on any rank), at least
// 0. Throws Error{"config"} if all ranks together have fewer than two rows.
double reference_point(std::span<const TrainRow> rows, Collective& world, const ScoreRows& score);

// The rewards of the step's rows on all ranks, for BCO's delta. beta: for rows without their own.
RewardSums rewards_of(std::span<const TrainRow> rows, double beta, Collective& world, const ScoreRows& score);

}  // namespace vpref
