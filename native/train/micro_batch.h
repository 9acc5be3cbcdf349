// SPDX-License-Identifier: Apache-2.0
// Rows of a step, packed into prefix trees: the input of one forward.
#pragma once
#include <span>
#include <vector>

#include "train/row.h"

namespace vpref {

// Consecutive rows of a step in one forward.
struct MicroBatch {
  std::span<const TrainRow> rows;
  int64_t first_row = 0;  // index of rows[0] in the step
  int64_t step = 0;       // number of the step in the run, for dropout
  TreeBatch tree;
  std::vector<ImageRef> images;    // in the order of their features
  std::vector<ImageShape> shapes;  // shapes of those images
  int64_t image_rows = 0, num_features = 0;
  std::vector<int32_t> branch_of_row;  // first branch of each row
  std::vector<int32_t> image_index;    // [T] index of the image row, or -1
  RowSize size() const { return {tree.num_rows(), int64_t(tree.targets.size()), image_rows, num_features}; }
};

// The end of the micro-batch that starts at row `begin`: as many rows as fit into `max_tokens` decoder rows, at least
// one.
size_t micro_batch_end(std::span<const RowSize> rows, size_t begin, int64_t max_tokens);

// Cuts the rows of a step with micro_batch_end. The rows must outlive the batches.
std::vector<MicroBatch> pack_micro_batches(const ModelConfig& config, std::span<const TrainRow> rows,
                                           int64_t max_tokens);

// A micro-batch for measuring: its passes take the memory of any batch of this size. Its ids and targets are
// meaningless, and it has no shapes.
MicroBatch batch_of_size(const ModelConfig& config, const RowSize& size);

}  // namespace vpref
