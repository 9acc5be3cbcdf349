// SPDX-License-Identifier: Apache-2.0
// The running mean of all rewards of a run: bco's delta. As trl's RunningMoments: all responses have equal weight,
// whatever their age, and it includes a step's own rewards before the step's losses.
#pragma once
#include "train/losses/objective.h"

namespace vpref {

// Weighted sums over rows: for a pair the chosen reward and the mean of the rejected ones, for a single response its
// reward.
struct RewardSums {
  double rewards = 0;
  double count = 0;
  void add(const LossRow& row, double beta) {
    if (row.beta > 0) beta = row.beta;
    const int32_t k = row.num_rejected;
    double rejected = 0;
    for (int32_t i = 1; i <= k; ++i) rejected += implicit_reward(row.branches[size_t(i)], beta) / k;
    rewards += row.weight * (implicit_reward(row.branches[0], beta) + rejected);
    count += row.weight * (k > 0 ? 2 : 1);
  }
};

struct RewardMean {
  double mean = 0;
  double count = 0;
  // The mean including one more step.
  RewardMean with(const RewardSums& step) const {
    const double all = count + step.count;
    return all > 0 ? RewardMean{mean + (step.rewards - mean * step.count) / all, all} : *this;
  }
};

}  // namespace vpref
