// SPDX-License-Identifier: Apache-2.0
// The objective of several rows: a weighted sum of losses, each averaged over the rows, which have weights of their
// own.
#pragma once
#include <span>
#include <vector>

#include "train/losses/loss.h"

namespace vpref {

// A record as the objective reads it.
struct LossRow {
  std::vector<ResponseLogps>
      branches;              // [1+K+J]: the chosen (or only) answer, K rejected ones, the chosen behind J images
  int32_t num_rejected = 0;  // K
  bool label = true;
  double weight = 1;
  double beta = 0;  // above 0: instead of the options'
};

// What the means divide by, over all rows of a step or of a held-out set.
struct LossTotals {
  double records = 0;  // sum of weights
  double tokens = 0;   // sum of weight x scored tokens of the chosen (or only) answers
  void add(double weight, int64_t chosen_tokens) {
    records += weight;
    tokens += weight * double(chosen_tokens);
  }
};

struct Objective {
  std::span<const LossTerm> terms;
  LossOptions options;

  // The row's share of the objective; its derivative with respect to each policy sum is added to slopes [1+K+J].
  double share(const LossRow& row, const StepPoints& points, const LossTotals& totals, std::span<double> slopes) const;
  // Of all rows together, nothing else counted.
  double mean(std::span<const LossRow> rows, const StepPoints& points) const;
};

}  // namespace vpref
