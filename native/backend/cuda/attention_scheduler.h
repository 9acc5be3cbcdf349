// SPDX-License-Identifier: Apache-2.0
// Cuts an AttentionPlan into the tiles of attention_schedule.h. Host only. Everything ragged (trees, causal edges,
// ranges of one row) is decided here, once per plan.
//
// Decode tiles hold rows of several spans: the keys of a node of the prefix tree are read once for all rows below it
// (prompt prefix, then private suffixes); long lists are cut into parts; parts of a row are merged by their
// log-sum-exp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "backend/cuda/attention_prefix_tree.h"
#include "backend/cuda/attention_schedule.h"

namespace vpref::cuda {

constexpr int32_t kMinPart = 128;       // keys
constexpr int32_t kDecodeBlocks = 512;  // wanted of a decode step: two to four for each multiprocessor of an A100 or
                                        // H100; a constant, so that the order of sums does not depend on the card

namespace schedule {

inline int32_t visible_keys(const AttentionSpan& span, const KvRange& last, int32_t query) {
  return span.causal ? last.count - span.q_count + query + 1 : last.count;
}

// Leaves out of a tile that was just added (rows from `begin` on of the span) what the window hides from all of its
// rows, and says of each row what is hidden from it besides.
inline void hide_front(const AttentionPlan& plan, const AttentionSpan& span, int32_t begin, QueryTile& tile,
                       std::vector<TileRow>& rows, std::vector<KvRange>& ranges) {
  const int32_t all = int32_t(hidden_keys(plan, span, begin));
  const std::vector<KvRange> whole(ranges.begin() + tile.first_range, ranges.end());
  const std::vector<KvRange> kept = cut(whole, all, count_keys(whole));
  const int32_t behind = whole.back().count - kept.back().count;  // negative where neighbours were joined
  ranges.resize(size_t(tile.first_range));
  ranges.insert(ranges.end(), kept.begin(), kept.end());
  tile.num_ranges = int32_t(kept.size());
  tile.visible_to_all -= behind;
  for (int32_t i = 0; i < tile.num_rows; ++i) {
    TileRow& row = rows[size_t(tile.first_row + i)];
    row.visible -= behind;
    row.hidden = int32_t(hidden_keys(plan, span, begin + i)) - all;
    tile.hidden_from_some = row.hidden;
  }
}

// Query tiles of one size: those of num_rows rows at most.
struct TileList {
  int32_t num_rows;
  std::vector<QueryTile>& tiles;
};

// Tiles of one span, its last rows (the costliest) first; what is left over goes to `small` where it fits. to: the
// schedule whose rows and ranges the tiles name.
template <class Schedule>
void add_span_tiles(const AttentionPlan& plan, const AttentionSpan& span, const TileList& large, const TileList& small,
                    Schedule& to) {
  std::vector<TileRow>& rows = to.rows;
  std::vector<KvRange>& ranges = to.ranges;
  const int32_t tile_rows = large.num_rows;
  const KvRange* seen = plan.ranges.data() + span.first_range;
  const KvRange last = seen[span.num_ranges - 1];
  for (int32_t begin = (span.q_count - 1) / tile_rows * tile_rows; begin >= 0; begin -= tile_rows) {
    const int32_t count = std::min(tile_rows, span.q_count - begin), last_query = begin + count - 1;
    std::vector<QueryTile>& tiles = (count <= small.num_rows ? small : large).tiles;
    tiles.push_back(
        {int32_t(rows.size()), count, int32_t(ranges.size()), span.num_ranges, visible_keys(span, last, begin), -1});
    for (int32_t i = 0; i < count; ++i) rows.push_back({span.q_begin + begin + i, visible_keys(span, last, begin + i)});
    ranges.insert(ranges.end(), seen, seen + span.num_ranges);
    ranges.back().count = visible_keys(span, last, last_query);
    if (hidden_keys(plan, span, last_query) > 0) hide_front(plan, span, begin, tiles.back(), rows, ranges);
  }
}

// Rows of spans below a node, each with the keys at the node's end that it does not see.
struct HiddenRow {
  int32_t row, hidden;
};

class DecodeTiles {
 public:
  DecodeTiles(const PrefixTree& tree, int32_t pack, int64_t num_packs, int32_t num_rows, ForwardSchedule& to)
      : tree_(tree), tile_rows_(kDecodeRows / pack), to_(to), row_slots_(size_t(num_rows)) {
    part_keys_ = int32_t(std::max<int64_t>(kMinPart, (work(0) * num_packs / kDecodeBlocks + 63) / 64 * 64));
    for (const size_t child : tree_[0].children) add(child, /*alone=*/tree_[child].children.empty());
    for (int32_t row = 0; row < num_rows; ++row) {
      const std::vector<int32_t>& slots = row_slots_[size_t(row)];
      if (slots.empty()) continue;
      to_.merges.push_back({row, int32_t(to_.slots.size()), int32_t(slots.size())});
      to_.slots.insert(to_.slots.end(), slots.begin(), slots.end());
    }
  }

 private:
  std::vector<HiddenRow> rows_of(size_t node) const {
    std::vector<HiddenRow> rows;
    for (const AttentionSpan* s : tree_[node].spans)
      for (int32_t i = 0; i < s->q_count; ++i) rows.push_back({s->q_begin + i, s->causal ? s->q_count - 1 - i : 0});
    for (const size_t child : tree_[node].children)
      for (const HiddenRow& r : rows_of(child)) rows.push_back({r.row, 0});
    return rows;
  }

  // Keys that the tiles of a node and below read.
  int64_t work(size_t node) const {
    const int64_t chunks = (int64_t(rows_of(node).size()) + tile_rows_ - 1) / tile_rows_;
    int64_t n = chunks * count_keys(tree_[node].keys);
    for (const size_t child : tree_[node].children) n += work(child);
    return n;
  }

  void add(size_t node, bool alone) {
    const std::vector<HiddenRow> rows = rows_of(node);
    const std::vector<KvRange>& keys = tree_[node].keys;
    const int32_t num_keys = count_keys(keys), parts = (num_keys + part_keys_ - 1) / part_keys_;
    for (int32_t p = 0; p < parts; ++p) {
      const int32_t begin = int32_t(int64_t(num_keys) * p / parts), end = int32_t(int64_t(num_keys) * (p + 1) / parts);
      const std::vector<KvRange> part = cut(keys, begin, end);
      for (size_t first = 0; first < rows.size(); first += size_t(tile_rows_))
        add_tile(part, num_keys - end, rows.data() + first, std::min<int32_t>(tile_rows_, int32_t(rows.size() - first)),
                 alone && parts == 1);
    }
    for (const size_t child : tree_[node].children) add(child, false);
  }

  // `after`: keys of the node behind this part.
  void add_tile(const std::vector<KvRange>& part, int32_t after, const HiddenRow* rows, int32_t num_rows, bool whole) {
    const int32_t last = part.back().count;
    QueryTile tile{int32_t(to_.rows.size()), num_rows, int32_t(to_.ranges.size()),
                   int32_t(part.size()),     last,     whole ? -1 : to_.num_slots};
    for (int32_t i = 0; i < num_rows; ++i) {
      const int32_t visible = std::clamp(last + after - rows[i].hidden, 0, last);
      tile.visible_to_all = std::min(tile.visible_to_all, visible);
      to_.rows.push_back({rows[i].row, visible});
      if (!whole) row_slots_[size_t(rows[i].row)].push_back(to_.num_slots++);
    }
    to_.ranges.insert(to_.ranges.end(), part.begin(), part.end());
    to_.decode.push_back(tile);
  }

  const PrefixTree& tree_;
  const int32_t tile_rows_;
  ForwardSchedule& to_;
  int32_t part_keys_;
  std::vector<std::vector<int32_t>> row_slots_;
};

// The rows of one span that see keys of a tile by its range r, before which are `before` keys. A tile begins where the
// range does or later.
inline void add_key_rows(const AttentionPlan& plan, const AttentionSpan& span, int32_t r, int32_t before,
                         const KeyTile& tile, std::vector<TileRow>& rows) {
  const KvRange& range = plan.ranges[size_t(span.first_range + r)];
  if (tile.begin < range.begin || tile.begin >= range.begin + range.count) return;
  for (int32_t i = 0; i < span.q_count; ++i) {
    const int32_t seen = r + 1 == span.num_ranges ? visible_keys(span, range, i) : range.count;
    const int32_t visible = std::min(tile.count, range.begin + seen - tile.begin);
    const int32_t hidden = std::max(0, int32_t(hidden_keys(plan, span, i)) - (before + tile.begin - range.begin));
    if (visible > hidden) rows.push_back({span.q_begin + i, visible, hidden});
  }
}

// Where key tiles begin: at the beginning of every range and of every run of keys that nothing sees, then each
// kKeyTileRows.
inline std::vector<KeyTile> cut_keys(const AttentionPlan& plan, int32_t kv_rows) {
  std::vector<int32_t> begins{0};
  std::vector<KvRange> by_begin = plan.ranges;
  std::sort(by_begin.begin(), by_begin.end(), [](const KvRange& a, const KvRange& b) { return a.begin < b.begin; });
  int32_t end = 0;
  for (const KvRange& r : by_begin) {
    if (r.begin > end) begins.push_back(end);
    if (r.begin > begins.back()) begins.push_back(r.begin);
    end = std::max(end, r.begin + r.count);
  }
  begins.push_back(end);
  begins.push_back(kv_rows);
  std::sort(begins.begin(), begins.end());
  std::vector<KeyTile> tiles;
  for (size_t i = 0; i + 1 < begins.size(); ++i)
    for (int32_t b = begins[i]; b < begins[i + 1]; b += kKeyTileRows)
      tiles.push_back({b, std::min(kKeyTileRows, begins[i + 1] - b), 0, 0});
  return tiles;
}

}  // namespace schedule

// Packed rows of the query tiles that a backend's kernels hold.
struct TileSizes {
  int32_t wide, tile;
};

// A span of few rows decodes; what more rows need is a tile that computes more for each key it loads.
inline ForwardSchedule schedule_forward(const AttentionPlan& plan, int64_t heads, int64_t kv_heads, TileSizes sizes) {
  const int32_t pack = packed_heads(heads, kv_heads);
  ForwardSchedule s;
  schedule::PrefixTree tree(plan);
  int32_t num_rows = 0;
  for (const AttentionSpan& span : plan.spans) {
    num_rows = std::max(num_rows, span.q_begin + span.q_count);
    if (span.q_count * pack <= kDecodeRows) {
      tree.insert(span);
    } else {
      schedule::add_span_tiles(plan, span, {sizes.wide / pack, s.wide}, {sizes.tile / pack, s.tiles}, s);
    }
  }
  schedule::DecodeTiles(tree, pack, heads / pack, num_rows, s);
  return s;
}

inline BackwardSchedule schedule_backward(const AttentionPlan& plan, int64_t heads, int64_t kv_heads, int32_t kv_rows,
                                          int32_t tile_rows) {
  BackwardSchedule s;
  const schedule::TileList list{tile_rows / packed_heads(heads, kv_heads), s.tiles};
  for (const AttentionSpan& span : plan.spans) schedule::add_span_tiles(plan, span, list, list, s);
  s.key_tiles = schedule::cut_keys(plan, kv_rows);
  for (KeyTile& tile : s.key_tiles) {
    tile.first_row = int32_t(s.key_rows.size());
    for (const AttentionSpan& span : plan.spans) {
      int32_t before = 0;
      for (int32_t r = 0; r < span.num_ranges; ++r) {
        schedule::add_key_rows(plan, span, r, before, tile, s.key_rows);
        before += plan.ranges[size_t(span.first_range + r)].count;
      }
    }
    tile.num_rows = int32_t(s.key_rows.size()) - tile.first_row;
  }
  return s;
}

}  // namespace vpref::cuda
