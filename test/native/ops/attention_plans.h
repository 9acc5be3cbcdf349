// SPDX-License-Identifier: Apache-2.0
// Random attention plans, as the engine builds them, with all awkward lengths.
#pragma once
#include <algorithm>
#include <random>
#include <vector>

#include "ops/attention.h"

namespace vpref {

struct RandomPlan {
  AttentionPlan plan;
  int32_t q_rows = 0, kv_rows = 0;
};

struct TreeSize {
  int roots = 2, depth = 3, children = 3, longest = 90;
};

// kind 0: a packed tree as in training; queries and keys have the same rows. kind 1: a decoding step or continued
// prefill over a cache, a few new rows per leaf; adjacent ranges may be merged, unused rows are between them. kind 2:
// non-causal segments (a vision tower).
inline RandomPlan random_plan(std::mt19937& random, int kind, TreeSize size = {}) {
  RandomPlan r;
  const auto pick = [&](int low, int high) { return low + int(random() % unsigned(high - low + 1)); };
  const auto length = [&] { return pick(0, 3) == 0 ? pick(1, 3) : pick(1, size.longest); };
  const auto add_span = [&](int32_t begin, int32_t count, const std::vector<KvRange>& ranges, bool causal,
                            int32_t path = -1) {
    r.plan.spans.push_back({begin, count, int32_t(r.plan.ranges.size()), int32_t(ranges.size()), causal, path});
    r.plan.ranges.insert(r.plan.ranges.end(), ranges.begin(), ranges.end());
  };
  if (kind == 2) {
    for (int i = pick(1, 4); i > 0; --i) {
      const int32_t n = length();
      add_span(r.q_rows, n, {{r.q_rows, n}}, false);
      r.q_rows += n;
    }
    r.kv_rows = r.q_rows + pick(0, 5);
    return r;
  }
  const auto grow = [&](auto& self, std::vector<KvRange> ancestors, int32_t parent, int depth) -> void {
    const int32_t count = length(), gap = kind == 1 && pick(0, 2) == 0 ? pick(1, 9) : 0, begin = r.kv_rows + gap;
    r.kv_rows = begin + count;
    if (kind == 1 && !ancestors.empty() && gap == 0 && ancestors.back().begin + ancestors.back().count == begin) {
      ancestors.back().count += count;
    } else {
      ancestors.push_back({begin, count});
    }
    const int32_t before = parent < 0 ? 0 : r.plan.paths[size_t(parent)].num_keys, path = int32_t(r.plan.paths.size());
    r.plan.paths.push_back({parent, before, before + count});
    const bool leaf = depth == 0 || pick(0, 4) == 0;
    if (kind == 0 || leaf) {
      const int32_t rows = kind == 0 ? count : std::min(count, pick(0, 2) == 0 ? pick(1, 20) : 1);
      add_span(r.q_rows, rows, ancestors, true, path);
      r.q_rows += rows;
    }
    for (int i = leaf ? 0 : pick(1, size.children); i > 0; --i) self(self, ancestors, path, depth - 1);
  };
  for (int i = pick(1, size.roots); i > 0; --i) grow(grow, {}, -1, pick(1, size.depth));
  r.kv_rows += kind == 1 ? pick(0, 70) : 0;
  return r;
}

}  // namespace vpref
