// SPDX-License-Identifier: Apache-2.0
#include "model/tree.h"

#include <algorithm>

#include "core/error.h"

namespace vpref {

namespace {

// Ancestors of segment s, oldest first.
template <class Segments>
std::vector<int32_t> ancestors(const Segments& segments, int32_t s) {
  std::vector<int32_t> path;
  for (int32_t p = segments[s].parent; p >= 0; p = segments[p].parent) path.push_back(p);
  std::reverse(path.begin(), path.end());
  return path;
}

void place_images(const SegmentInput& input, int32_t row_begin, std::vector<ImageSlot>& slots) {
  const int32_t count = int32_t(input.token_ids.size());
  size_t run = 0;
  for (int32_t row = 0; row < count;) {
    if (input.token_ids[row] >= 0) {
      ++row;
      continue;
    }
    check(run < input.images.size(), "internal", "more image rows than images in a segment");
    const int32_t end = row + input.image_rows[run];
    check(end > row && end <= count, "internal", "an image of ", end - row, " rows does not fit its segment");
    for (int32_t r = row; r < end; ++r)
      check(input.token_ids[r] < 0, "internal", "a token stands among the rows of an image");
    slots.push_back({input.images[run++], row_begin + row, end - row});
    row = end;
  }
  check(run == input.images.size(), "internal", "more images than image rows in a segment");
}

}  // namespace

TreeBatch pack_tree(const std::vector<SegmentInput>& inputs) {
  TreeBatch batch;
  std::vector<int32_t> next_position(inputs.size());  // position after a segment's last row
  for (size_t i = 0; i < inputs.size(); ++i) {
    const SegmentInput& in = inputs[i];
    const int32_t count = int32_t(in.token_ids.size());
    check(in.parent < int32_t(i), "internal", "segment ", i, " stands before its parent ", in.parent);
    check(count > 0, "internal", "segment ", i, " is empty");
    const int32_t row_begin = batch.num_rows();
    const int32_t position = in.parent >= 0 ? next_position[in.parent] : 0;
    batch.segments.push_back({in.parent, row_begin, count});
    place_images(in, row_begin, batch.images);
    batch.token_ids.insert(batch.token_ids.end(), in.token_ids.begin(), in.token_ids.end());
    for (int32_t k = 0; k < count; ++k) batch.positions.push_back(position + k);
    next_position[i] = position + count;
    if (in.branch < 0) continue;
    batch.num_branches = std::max(batch.num_branches, in.branch + 1);
    for (int32_t k = 0; k < count; ++k) {
      if (!in.scored.empty() && !in.scored[k]) continue;
      check(k > 0 || in.parent >= 0, "internal", "the first token of a tree cannot be scored");
      const Segment* parent = k == 0 ? &batch.segments[in.parent] : nullptr;
      batch.target_rows.push_back(k > 0 ? row_begin + k - 1 : parent->row_begin + parent->row_count - 1);
      batch.targets.push_back(in.token_ids[k]);
      batch.target_branch.push_back(in.branch);
    }
  }
  return batch;
}

AttentionPlan tree_attention_plan(const std::vector<Segment>& segments) {
  AttentionPlan plan;
  for (int32_t s = 0; s < int32_t(segments.size()); ++s) {
    const int32_t first = int32_t(plan.ranges.size());
    for (int32_t a : ancestors(segments, s)) plan.ranges.push_back({segments[a].row_begin, segments[a].row_count});
    plan.ranges.push_back({segments[s].row_begin, segments[s].row_count});
    plan.spans.push_back(
        {segments[s].row_begin, segments[s].row_count, first, int32_t(plan.ranges.size()) - first, true});
  }
  return plan;
}

}  // namespace vpref
