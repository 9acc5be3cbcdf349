// SPDX-License-Identifier: Apache-2.0
// What losses read of a whole step before any of its rows has a loss: a forward of their own without gradients.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "dist/collective.h"
#include "train/losses/reward_mean.h"
#include "train/row.h"

namespace vpref {

using ScoreRows = std::function<std::vector<RowResult>(std::span<const TrainRow> rows, bool adapter_on)>;

// What the losses read of a row; policy and num_tokens: its branches'.
LossRow loss_row(const TrainRow& row, std::span<const double> policy, std::span<const int64_t> num_tokens);

// KTO's z_0: the mean log-ratio of answers that belong to another prompt of the step (the next one's, on whatever
// rank), at least 0. Throws Error{"config"} where the ranks have one row or none together.
double reference_point(std::span<const TrainRow> rows, Collective& world, const ScoreRows& score);

// The rewards of the step's rows, of all ranks, that BCO's delta takes in. beta: of rows without their own.
RewardSums rewards_of(std::span<const TrainRow> rows, double beta, Collective& world, const ScoreRows& score);

}  // namespace vpref
