// SPDX-License-Identifier: Apache-2.0
// How the CPU executes an AttentionPlan: the key/value rows to pack, and the tiles of queries.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "ops/attention.h"

namespace vpref::cpu {

constexpr int64_t kQueries = 96;  // maximum queries of a tile
constexpr int64_t kKeys = 96;

// A tile: rows [row, row + rows) of heads [head, head + heads) of one group, which shares a key/value head; at most
// kQueries queries.
struct QueryBlock {
  const AttentionSpan* span;
  int64_t row, rows;    // within the span
  int64_t head, heads;  // within the group
  int64_t count() const { return rows * heads; }
};

// Tiles of the spans. The most expensive ones (last rows of a span) come first, so that threads finish together.
inline std::vector<QueryBlock> query_blocks(const std::vector<const AttentionSpan*>& spans, int64_t group) {
  std::vector<QueryBlock> tiles;
  for (const AttentionSpan* span : spans) {
    const int64_t heads = std::min(group, std::max<int64_t>(1, kQueries / span->q_count));
    const int64_t blocks = (span->q_count + kQueries - 1) / kQueries;
    const int64_t rows = (span->q_count + blocks - 1) / blocks;
    for (int64_t head = 0; head < group; head += heads)
      for (int64_t row = (blocks - 1) * rows; row >= 0; row -= rows)
        if (row < span->q_count)
          tiles.push_back({span, row, std::min(rows, span->q_count - row), head, std::min(heads, group - head)});
  }
  return tiles;
}

// Keys [begin, end) of the span's ranges.
inline void take_keys(const AttentionPlan& plan, const AttentionSpan& span, int64_t begin, int64_t end,
                      std::vector<KvRange>& pieces) {
  pieces.clear();
  int64_t before = 0;
  for (int r = 0; r < span.num_ranges && before < end; ++r) {
    const KvRange& range = plan.ranges[size_t(span.first_range + r)];
    const int64_t first = std::max<int64_t>(begin - before, 0), last = std::min<int64_t>(end - before, range.count);
    if (first < last) pieces.push_back({int32_t(range.begin + first), int32_t(last - first)});
    before += range.count;
  }
}

// Start of the first key block that a query of the span attends to. Blocks are counted from the first key.
inline int64_t first_block(const AttentionPlan& plan, const AttentionSpan& span, int64_t query) {
  return hidden_keys(plan, span, query) / kKeys * kKeys;
}

// The key/value rows that any span attends to, as disjoint ascending intervals, packed side by side.
class PackedRows {
 public:
  PackedRows(const AttentionPlan& plan, const std::vector<const AttentionSpan*>& spans) {
    std::vector<KvRange> seen;
    std::vector<KvRange> of_span;
    for (const AttentionSpan* s : spans) {
      take_keys(plan, *s, first_block(plan, *s, 0), num_keys(plan, *s), of_span);
      seen.insert(seen.end(), of_span.begin(), of_span.end());
    }
    std::sort(seen.begin(), seen.end(), [](const KvRange& a, const KvRange& b) { return a.begin < b.begin; });
    for (const KvRange& r : seen) {
      if (!intervals_.empty() && r.begin <= intervals_.back().begin + intervals_.back().count) {
        KvRange& last = intervals_.back();
        const int32_t end = std::max(last.begin + last.count, r.begin + r.count);
        rows_ += end - (last.begin + last.count);
        last.count = end - last.begin;
      } else {
        first_.push_back(rows_);
        intervals_.push_back(r);
        rows_ += r.count;
      }
    }
  }
  int64_t rows() const { return rows_; }
  const std::vector<KvRange>& intervals() const { return intervals_; }
  int64_t first(size_t interval) const { return first_[interval]; }
  // Packed index of a row.
  int64_t at(int32_t row) const {
    const auto after = std::upper_bound(intervals_.begin(), intervals_.end(), row,
                                        [](int32_t r, const KvRange& i) { return r < i.begin; });
    const size_t i = size_t(after - intervals_.begin()) - 1;
    return first_[i] + row - intervals_[i].begin;
  }

 private:
  std::vector<KvRange> intervals_;
  std::vector<int64_t> first_;
  int64_t rows_ = 0;
};

// At most kKeys consecutive keys of a tile.
struct KeyBlock {
  std::vector<KvRange> pieces;  // their rows
  int64_t rows, visible;        // query i (row within the tile) sees the keys before visible + i: negative if the first
                                // queries see none, at least `rows` if all see all
  int64_t hidden;               // with a window, the keys before hidden + i are hidden
};

// body(block) for each block of a tile's keys. Blocks are counted from the first key, wherever the keys are and for
// every tile, so a query's sums always have the same order.
template <class Body>
void for_key_blocks(const AttentionPlan& plan, const QueryBlock& tile, Body body) {
  const AttentionSpan& s = *tile.span;
  const int64_t keys = num_keys(plan, s), first_visible = s.causal ? keys - s.q_count + tile.row + 1 : keys;
  const int64_t end = s.causal ? first_visible + tile.rows - 1 : keys;
  KeyBlock block;
  for (int64_t b = first_block(plan, s, tile.row); b < end; b += kKeys) {
    block.rows = std::min(kKeys, end - b);
    block.visible = first_visible - b;
    block.hidden = plan.window > 0 ? block.visible - plan.window : -tile.rows;
    take_keys(plan, s, b, b + block.rows, block.pieces);
    body(block);
  }
}

}  // namespace vpref::cpu
