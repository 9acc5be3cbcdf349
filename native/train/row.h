// SPDX-License-Identifier: Apache-2.0
// A training row, its size and its results.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/tree.h"

namespace vpref {

// One tokenised record. Branches inside `segments`: 0 is the chosen (or only) response, 1..K are the rejected ones,
// K+1..K+J are the chosen response behind damaged images.
struct TrainRow {
  std::string id;
  std::vector<SegmentInput> segments;
  std::vector<ImageShape> images;   // numbered 0.. in the segments
  int32_t num_rejected = 0;         // K
  int32_t num_rejected_images = 0;  // J
  bool label = true;                // kto
  double weight = 1;                // weight in the means of the losses
  double beta = 0;                  // above 0: overrides the options' beta
  std::vector<double> ref;          // [1+K+J] reference sums, or empty for reference-free losses
  int32_t num_branches() const { return 1 + num_rejected + num_rejected_images; }
  // Scored tokens of branch 0, the divisor of token-averaged losses.
  int64_t num_chosen_tokens() const {
    int64_t n = 0;
    for (const SegmentInput& s : segments) n += s.branch == 0 ? s.num_scored() : 0;
    return n;
  }
};

// The ids, for messages.
inline std::string join_ids(std::span<const TrainRow> rows) {
  std::string ids;
  for (const TrainRow& r : rows) ids += (ids.empty() ? "" : ", ") + r.id;
  return ids;
}

// Writes the vision features of image `image` of row `row` (indices within the given span) for every (row, image) of
// the call, in order, to features[N, C]. The vision tower is frozen, so there is no backward.
struct ImageRef {
  int32_t row;
  int32_t image;
};
using EncodeImages = std::function<void(std::span<const ImageRef> images, const Tensor& features)>;

// The sizes that determine the memory of a row, or of a micro-batch.
struct RowSize {
  int64_t rows = 0;  // decoder rows: tokens and image rows
  int64_t targets = 0;
  int64_t image_rows = 0, features = 0;  // of distinct images
  int64_t pixel_bytes = 0;               // pixels of their crops, on the host
  // If so, it needs no more memory.
  bool is_within(const RowSize& o) const {
    return rows <= o.rows && targets <= o.targets && image_rows <= o.image_rows && features <= o.features;
  }
  RowSize& operator+=(const RowSize& o) {
    rows += o.rows;
    targets += o.targets;
    image_rows += o.image_rows;
    features += o.features;
    pixel_bytes += o.pixel_bytes;
    return *this;
  }
};

// A row's results, for metrics and warnings.
struct RowResult {
  std::vector<double> policy;       // [1+K+J] log-probability sums
  std::vector<int64_t> num_tokens;  // [1+K+J]
  double loss = 0;                  // this row's share of the step's loss
};

}  // namespace vpref
