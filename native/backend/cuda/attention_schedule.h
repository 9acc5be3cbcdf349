// SPDX-License-Identifier: Apache-2.0
// How the GPU walks an AttentionPlan: the host cuts it into work items, one thread block and head (or pack of heads)
// each. Pure C++, the same structs are read by the kernels. Everything ragged (trees, causal edges, ranges of one row)
// is decided here, once a plan.
//
// Forward and dq walk query tiles: rows of the query against a list of key ranges. Decode tiles hold rows of several
// spans: the plan's paths form a tree, and the keys of a node of it are read once for all rows below it
// (prompt prefix, then private suffixes); long lists are cut into parts; parts of a row are merged by their
// log-sum-exp. dk and dv walk key tiles: keys against the rows that see them.
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "ops/attention.h"

namespace vpref::cuda {

constexpr int32_t kWideRows = 128, kTileRows = 64,
                  kDecodeRows = 16;     // packed rows (row x head of the pack) of a query tile
constexpr int32_t kKeyTileRows = 64;    // keys of a tile of dk and dv
constexpr int32_t kSharedKeys = 64;     // fewer keys in common are not worth a tile of their own
constexpr int32_t kMinPart = 128;       // keys
constexpr int32_t kDecodeBlocks = 512;  // wanted of a decode step: two to four for each multiprocessor of an A100 or
                                        // H100; a constant, so that the order of sums does not depend on the card

// Query row, and how many keys of its tile's last range it sees (it sees all of the others); in a key tile, of the
// tile. With a window it sees none of the first `hidden` keys of its tile.
struct TileRow {
  int32_t row, visible, hidden = 0;
};

struct QueryTile {
  int32_t first_row, num_rows;      // in `rows`
  int32_t first_range, num_ranges;  // in `ranges`; at least one
  int32_t visible_to_all;           // of the last range: up to here no row needs a mask
  int32_t slot;  // -1: the tile writes the result; else its rows write partial results slot, slot + 1, ...
  int32_t hidden_from_some = 0;  // from this key on (of all ranges) no row needs a window's mask
};

// The partial results of one query row are slots[first_slot .. first_slot + num_slots).
struct MergeRow {
  int32_t row, first_slot, num_slots;
};

struct KeyTile {
  int32_t begin, count;         // rows of k and v
  int32_t first_row, num_rows;  // in `key_rows`; none where nothing sees these keys
};

struct ForwardSchedule {
  std::vector<TileRow> rows;
  std::vector<KvRange> ranges;
  std::vector<QueryTile> wide, tiles, decode;  // of kWideRows, kTileRows, kDecodeRows packed rows
  std::vector<MergeRow> merges;
  std::vector<int32_t> slots;
  int32_t num_slots = 0;
};

struct BackwardSchedule {
  std::vector<TileRow> rows;
  std::vector<KvRange> ranges;
  std::vector<QueryTile> tiles;
  std::vector<KeyTile> key_tiles;
  std::vector<TileRow> key_rows;
};

// Heads of a group that one query tile holds side by side, so that a key tile is loaded once for them.
inline int32_t packed_heads(int64_t heads, int64_t kv_heads) {
  const int64_t group = heads / kv_heads;
  return group <= kDecodeRows ? int32_t(group) : 1;
}

namespace schedule {

inline int32_t visible_keys(const AttentionSpan& span, const KvRange& last, int32_t query) {
  return span.causal ? last.count - span.q_count + query + 1 : last.count;
}

// What query `query` of a span with a window sees, neighbouring ranges joined.
inline std::vector<KvRange> seen_keys(const AttentionPlan& plan, const AttentionSpan& span, int32_t query) {
  std::vector<KvRange> keys;
  for (int32_t r = 0; r < span.num_ranges; ++r) append(keys, plan.ranges[size_t(span.first_range + r)]);
  return cut(keys, int32_t(hidden_keys(plan, span, query)), count_keys(keys) - (span.q_count - 1 - query));
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

// The first `end` keys of a path of the plan; -1: of none that others know.
struct PathPart {
  int32_t path, end;
};

// How many keys two parts have in common at their beginning.
inline int32_t common_keys(const AttentionPlan& plan, PathPart a, PathPart b) {
  const auto leave = [&](PathPart& p) {
    const KeyPath& left = plan.paths[size_t(p.path)];
    p = {left.parent, std::min(p.end, left.shared)};
  };
  while (a.path != b.path) leave(a.path > b.path ? a : b);  // parents come first
  return a.path < 0 ? 0 : std::min(a.end, b.end);
}

// The tree of the plan's paths, with the spans that see them: a node's keys are seen by every span in it or below it.
// The last q_count - 1 keys of a causal span, which its first rows do not see, are never shared.
class PrefixTree {
 public:
  struct Node {
    std::vector<KvRange> keys;                // those behind the parent's
    int32_t begin;                            // how many of the path come before them
    PathPart part;                            // how far others may share them
    std::vector<const AttentionSpan*> spans;  // whose list ends here
    std::vector<size_t> children;
  };

  explicit PrefixTree(const AttentionPlan& plan) : plan_(plan), nodes_{Node{{}, 0, {-1, 0}, {}, {}}} {
    of_root_.resize(plan.paths.size());
  }

  // With a window that hides keys each row has a list of its own, which is all that it sees.
  void insert(const AttentionSpan& span) {
    if (hidden_keys(plan_, span, span.q_count - 1) == 0) return insert_whole(span);
    for (int32_t i = 0; i < span.q_count; ++i) {
      const std::vector<KvRange> keys = seen_keys(plan_, span, i);
      rows_.push_back({span.q_begin + i, 1, 0, int32_t(keys.size()), true, span.path});
      add(keys, int32_t(hidden_keys(plan_, span, i)), rows_.back());
    }
  }

  const Node& operator[](size_t i) const { return nodes_[i]; }

 private:
  void insert_whole(const AttentionSpan& span) {
    std::vector<KvRange> keys;
    for (int32_t r = 0; r < span.num_ranges; ++r) append(keys, plan_.ranges[size_t(span.first_range + r)]);
    add(std::move(keys), 0, span);
  }

  // `begin`: keys of the path before these.
  void add(std::vector<KvRange> keys, int32_t begin, const AttentionSpan& span) {
    const int32_t sharable = begin + count_keys(keys) - (span.causal ? span.q_count - 1 : 0);
    const PathPart part{span.path, span.path < 0 ? 0 : std::min(sharable, plan_.paths[size_t(span.path)].num_keys)};
    size_t at = 0;
    while (!keys.empty()) {
      const size_t child = shared_child(at == 0 ? root_children(span.path) : nodes_[at].children, part, begin);
      if (child == 0) return add_leaf(at, {std::move(keys), begin, part, {&span}, {}});
      const int32_t shared = count_keys(nodes_[child].keys);
      keys = cut(keys, shared, count_keys(keys));
      begin += shared;
      at = child;
    }
    nodes_[at].spans.push_back(&span);
  }

  void add_leaf(size_t parent, Node leaf) {
    const size_t i = nodes_.size();
    nodes_[parent].children.push_back(i);
    if (parent == 0 && leaf.part.path >= 0) root_children(leaf.part.path).push_back(i);
    nodes_.push_back(std::move(leaf));
  }

  // The children of the root that may share with a span of this path.
  std::vector<size_t>& root_children(int32_t path) {
    if (path < 0) return none_;
    while (plan_.paths[size_t(path)].parent >= 0) path = plan_.paths[size_t(path)].parent;
    return of_root_[size_t(path)];
  }

  // The child whose keys all begin the part's behind `begin`, after cutting it to what is common; 0 if there is none.
  size_t shared_child(const std::vector<size_t>& siblings, PathPart part, int32_t begin) {
    for (const size_t child : siblings) {
      const Node& node = nodes_[child];
      const int32_t n = node.begin == begin ? common_keys(plan_, node.part, part) - begin : 0;
      if (n < std::min(kSharedKeys, count_keys(node.keys))) continue;
      if (n < count_keys(node.keys)) split(child, n);
      return child;
    }
    return 0;
  }

  void split(size_t node, int32_t n) {
    Node below = nodes_[node], above{cut(below.keys, 0, n), below.begin, {below.part.path, below.begin + n}, {}, {}};
    below.keys = cut(below.keys, n, count_keys(below.keys));
    below.begin += n;
    nodes_.push_back(std::move(below));
    above.children = {nodes_.size() - 1};
    nodes_[node] = std::move(above);
  }

  const AttentionPlan& plan_;
  std::vector<Node> nodes_;
  std::vector<std::vector<size_t>> of_root_;  // children of the root, by the first path of theirs
  std::vector<size_t> none_;
  std::deque<AttentionSpan> rows_;  // of spans with a window
};

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
