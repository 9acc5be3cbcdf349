// SPDX-License-Identifier: Apache-2.0
// Rows of a step packed into prefix trees: what one forward takes.
#pragma once
#include <span>
#include <vector>

#include "train/row.h"

namespace vpref {

// Consecutive rows of a step that go through the model together.
struct MicroBatch {
  std::span<const TrainRow> rows;
  int64_t first_row = 0;  // index of rows[0] in the step
  int64_t step = 0;       // of the run, for dropout
  TreeBatch tree;
  std::vector<ImageRef> images;    // in the order of their features
  std::vector<ImageShape> shapes;  // of those
  int64_t image_rows = 0, num_features = 0;
  std::vector<int32_t> branch_of_row;  // first branch of each row
  std::vector<int32_t> image_index;    // [T] row of the images' rows, or -1
  RowSize size() const { return {tree.num_rows(), int64_t(tree.targets.size()), image_rows, num_features}; }
};

// As many rows as fit `max_tokens` decoder rows from `begin` on, one at least: where they end.
size_t micro_batch_end(std::span<const RowSize> rows, size_t begin, int64_t max_tokens);

// The rows of a step, cut by micro_batch_end. They must outlive the batches.
std::vector<MicroBatch> pack_micro_batches(const ModelConfig& config, std::span<const TrainRow> rows,
                                           int64_t max_tokens);

// One whose passes take the memory that any of this size does; its ids and targets mean nothing, and it has no shapes.
MicroBatch batch_of_size(const ModelConfig& config, const RowSize& size);

}  // namespace vpref
