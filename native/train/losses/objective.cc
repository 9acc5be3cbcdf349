// SPDX-License-Identifier: Apache-2.0
#include "train/losses/objective.h"

namespace vpref {

double Objective::share(const LossRow& row, const StepPoints& points, const LossTotals& totals,
                        std::span<double> slopes) const {
  if (row.weight == 0) return 0;  // also if the sum of weights is 0
  const std::span<const ResponseLogps> all(row.branches);
  const auto num_rejected = size_t(row.num_rejected);
  const Preference preference{all[0], all.subspan(1, num_rejected), all.subspan(1 + num_rejected), row.label, points};
  LossOptions own = options;
  if (row.beta > 0) own.beta = row.beta;
  double loss = 0;
  for (const LossTerm& term : terms) {
    const LossValue v = term.info->function(preference, own);
    const double total = term.info->average == Average::tokens ? totals.tokens : totals.records;
    const double scale = term.weight * row.weight / total;
    loss += scale * v.loss;
    slopes[0] += scale * v.d_chosen;
    for (size_t k = 0; k < v.d_rejected.size(); ++k) slopes[1 + k] += scale * v.d_rejected[k];
    for (size_t k = 0; k < v.d_rejected_images.size(); ++k)
      slopes[1 + num_rejected + k] += scale * v.d_rejected_images[k];
  }
  return loss;
}

double Objective::mean(std::span<const LossRow> rows, const StepPoints& points) const {
  LossTotals totals;
  for (const LossRow& row : rows) totals.add(row.weight, row.branches[0].num_tokens);
  double loss = 0;
  for (const LossRow& row : rows) {
    std::vector<double> slopes(row.branches.size());
    loss += share(row, points, totals, slopes);
  }
  return loss;
}

}  // namespace vpref
