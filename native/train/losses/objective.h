// SPDX-License-Identifier: Apache-2.0
// The objective over several rows: a weighted sum of losses, each averaged over the rows, which have weights.
#pragma once
#include <span>
#include <vector>

#include "train/losses/loss.h"

namespace vpref {

// A record, as the objective reads it.
struct LossRow {
  std::vector<ResponseLogps>
      branches;  // [1+K+J]: the chosen (or only) response, K rejected ones, the chosen behind J damaged images
  int32_t num_rejected = 0;  // K
  bool label = true;
  double weight = 1;
  double beta = 0;  // above 0: overrides the options' beta
};

// The divisors of the means, over all rows of a step or of a held-out set.
struct LossTotals {
  double records = 0;  // sum of weights
  double tokens = 0;   // sum of weight x scored tokens of the chosen (or only) responses
  void add(double weight, int64_t chosen_tokens) {
    records += weight;
    tokens += weight * double(chosen_tokens);
  }
};

struct Objective {
  std::span<const LossTerm> terms;
  LossOptions options;

  // Each row's share of the objective. Adds the derivative with respect to each policy sum to slopes: [1+K+J] per row,
  // row after row.
  std::vector<double> shares(std::span<const LossRow> rows, const StepPoints& points, const LossTotals& totals,
                             std::span<double> slopes) const;
  // Their sum, with the divisors of these rows.
  double mean(std::span<const LossRow> rows, const StepPoints& points) const;
};

}  // namespace vpref
