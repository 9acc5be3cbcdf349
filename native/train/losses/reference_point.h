// SPDX-License-Identifier: Apache-2.0
// KTO's reference point.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "dist/collective.h"
#include "train/row.h"

namespace vpref {

using ScoreRows = std::function<std::vector<RowResult>(std::span<const TrainRow> rows, bool adapter_on)>;

// z_0: the mean log-ratio of answers that belong to another prompt of the step (the next one's, on whatever rank), at
// least 0. Throws Error{"config"} where the ranks have one row or none together.
double reference_point(std::span<const TrainRow> rows, Collective& world, const ScoreRows& score);

}  // namespace vpref
