// SPDX-License-Identifier: Apache-2.0
// New rows of one step, packed on the host.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "infer/image_cache.h"
#include "model/tree.h"

namespace vpref {

// A run of an image's rows within a step.
struct PlacedPiece {
  ImagePiece at;  // rows of the step
  const ImageRows* image;
};

struct StepRows {
  std::vector<int32_t> token_ids;  // [T], -1 on image rows
  // decode(): row i is token sampled_index[i] of the previous step, unless that is -1; the host may not know it yet.
  std::vector<int32_t> sampled_index;
  Positions positions;           // [P,T]
  std::vector<int32_t> kv_rows;  // [T] cache rows; empty: the step's own rows are the cache (scoring)
  std::vector<PlacedPiece> images;
  AttentionPlan plan;                       // ranges of cache rows; without the cache: of step rows
  std::vector<int32_t> wanted;              // [R] rows whose last residual is read, ascending
  std::vector<AttentionSpan> wanted_spans;  // plan of the wanted rows as queries, over plan.ranges (see add_segment)

  explicit StepRows(int32_t num_position_axes = 1) : positions(num_position_axes) {}
  // Appends rows of a segment, whose positions were added before. They attend to `ranges`, the last of which ends with
  // these rows. wanted_rows: ascending indices within these rows. path: index in plan.paths of the ranges' path, or -1.
  void add_segment(std::span<const int32_t> ids, std::span<const KvRange> ranges, std::span<const int32_t> wanted_rows,
                   int32_t path);
  // The rows of a tree; those that predict a target are wanted.
  explicit StepRows(const TreeBatch& tree);
  int64_t num_rows() const { return int64_t(token_ids.size()); }
};

}  // namespace vpref
