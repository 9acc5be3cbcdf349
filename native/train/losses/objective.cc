// SPDX-License-Identifier: Apache-2.0
#include "train/losses/objective.h"

#include <numeric>

namespace vpref {

std::vector<double> Objective::shares(std::span<const LossRow> rows, const StepPoints& points, const LossTotals& totals,
                                      std::span<double> slopes) const {
  std::vector<double> out(rows.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    const LossRow& row = rows[r];
    const std::span<const ResponseLogps> all(row.branches);
    double* slope = slopes.data();
    slopes = slopes.subspan(all.size());
    if (row.weight == 0) continue;  // also if the sum of weights is 0
    const auto num_rejected = size_t(row.num_rejected);
    const Preference preference{all[0], all.subspan(1, num_rejected), all.subspan(1 + num_rejected), row.label, points};
    LossOptions own = options;
    if (row.beta > 0) own.beta = row.beta;
    for (const LossTerm& term : terms) {
      const LossValue v = term.info->function(preference, own);
      const double total = term.info->average == Average::tokens ? totals.tokens : totals.records;
      const double scale = term.weight * row.weight / total;
      out[r] += scale * v.loss;
      slope[0] += scale * v.d_chosen;
      for (size_t k = 0; k < v.d_rejected.size(); ++k) slope[1 + k] += scale * v.d_rejected[k];
      for (size_t k = 0; k < v.d_rejected_images.size(); ++k)
        slope[1 + num_rejected + k] += scale * v.d_rejected_images[k];
    }
  }
  return out;
}

double Objective::mean(std::span<const LossRow> rows, const StepPoints& points) const {
  LossTotals totals;
  size_t num_branches = 0;
  for (const LossRow& row : rows) {
    totals.add(row.weight, row.branches[0].num_tokens);
    num_branches += row.branches.size();
  }
  std::vector<double> slopes(num_branches);
  const std::vector<double> all = shares(rows, points, totals, slopes);
  return std::accumulate(all.begin(), all.end(), 0.0);
}

}  // namespace vpref
