// SPDX-License-Identifier: Apache-2.0
#include "infer/step_rows.h"

#include <set>

namespace vpref {

void StepRows::add_segment(std::span<const int32_t> ids, std::span<const KvRange> ranges,
                           std::span<const int32_t> wanted_rows, int32_t path) {
  const int32_t begin = int32_t(token_ids.size()), count = int32_t(ids.size());
  token_ids.insert(token_ids.end(), ids.begin(), ids.end());
  const int32_t first_range = int32_t(plan.ranges.size()), num_ranges = int32_t(ranges.size());
  plan.ranges.insert(plan.ranges.end(), ranges.begin(), ranges.end());
  plan.spans.push_back({begin, count, first_range, num_ranges, /*causal=*/true, path});
  for (size_t i = 0; i < wanted_rows.size();) {
    size_t end = i + 1;  // a run of neighbouring rows is one span
    while (end < wanted_rows.size() && wanted_rows[end] == wanted_rows[end - 1] + 1) ++end;
    const int32_t run = int32_t(end - i), last = wanted_rows[end - 1];
    int32_t span_first = first_range;
    if (last != count - 1) {  // the run ends before the segment does, so its last range is shorter
      span_first = int32_t(plan.ranges.size());
      plan.ranges.insert(plan.ranges.end(), ranges.begin(), ranges.end());
      plan.ranges.back().count -= count - 1 - last;
    }
    wanted_spans.push_back({int32_t(wanted.size()), run, span_first, num_ranges, /*causal=*/true, path});
    for (; i < end; ++i) wanted.push_back(begin + wanted_rows[i]);
  }
}

StepRows::StepRows(const TreeBatch& tree) : positions(tree.positions) {
  const std::set<int32_t> predictors(tree.target_rows.begin(), tree.target_rows.end());
  plan.paths = key_paths(tree);
  for (size_t i = 0; i < tree.segments.size(); ++i) {
    const Segment& s = tree.segments[i];
    if (s.row_count == 0) continue;
    KvRanges seen;
    for (const KvRange& r : s.ranges) append(seen, r);
    std::vector<int32_t> own;
    const auto end = predictors.lower_bound(s.row_begin + s.row_count);
    for (auto row = predictors.lower_bound(s.row_begin); row != end; ++row) own.push_back(*row - s.row_begin);
    add_segment(std::span(tree.token_ids).subspan(size_t(s.row_begin), size_t(s.row_count)), seen, own, int32_t(i));
  }
}

}  // namespace vpref
