// SPDX-License-Identifier: Apache-2.0
// Covers native/backend/cuda/attention_schedule.h native/backend/cuda/attention_scheduler.h
// Covers native/backend/cuda/attention_prefix_tree.h
// The GPU's work lists, walked as the kernels do: every visible (query row, key) pair once, nothing else.
#include "backend/cuda/attention_scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "ops/attention_plans.h"

namespace vpref::cuda {
namespace {

using Pairs = std::map<std::pair<int, int>, int>;  // (query row, key row) -> times

Pairs pairs_of(const AttentionPlan& plan) {
  Pairs pairs;
  for (const AttentionSpan& s : plan.spans)
    for (int i = 0; i < s.q_count; ++i) {
      std::vector<int> path;
      for (int r = 0; r < s.num_ranges; ++r) {
        const KvRange& range = plan.ranges[size_t(s.first_range + r)];
        for (int j = 0; j < range.count; ++j) path.push_back(range.begin + j);
      }
      if (s.causal) path.resize(path.size() - size_t(s.q_count - 1 - i));
      const size_t seen = plan.window > 0 ? std::min(path.size(), size_t(plan.window)) : path.size();
      for (size_t j = path.size() - seen; j < path.size(); ++j) ++pairs[{s.q_begin + i, path[j]}];
    }
  return pairs;
}

// What a kernel computes for a tile: all keys of all ranges but the last, `visible` of that.
void walk_tile(const QueryTile& tile, const std::vector<TileRow>& rows, const std::vector<KvRange>& ranges,
               int most_rows, Pairs& pairs) {
  ASSERT_GT(tile.num_rows, 0);
  ASSERT_GT(tile.num_ranges, 0);
  EXPECT_LE(tile.num_rows, most_rows);
  const KvRange& last = ranges[size_t(tile.first_range + tile.num_ranges - 1)];
  for (int i = 0; i < tile.num_rows; ++i) {
    const TileRow row = rows[size_t(tile.first_row + i)];
    EXPECT_LE(tile.visible_to_all, row.visible);
    EXPECT_GE(row.visible, 0);
    EXPECT_LE(row.visible, last.count);
    EXPECT_LE(row.hidden, tile.hidden_from_some);
    EXPECT_GE(row.hidden, 0);
    int before = 0;
    for (int r = 0; r < tile.num_ranges; ++r) {
      const KvRange& range = ranges[size_t(tile.first_range + r)];
      ASSERT_GT(range.count, 0);
      for (int j = 0; j < (r + 1 < tile.num_ranges ? range.count : row.visible); ++j)
        if (before + j >= row.hidden) ++pairs[{row.row, range.begin + j}];
      before += range.count;
    }
  }
}

// Each row is written by one tile, or merged from exactly the slots that its tiles write.
void check_results(const ForwardSchedule& s, const AttentionPlan& plan) {
  std::map<int, int> writers;            // row -> results written
  std::map<int, std::set<int>> written;  // row -> slots
  for (const auto* tiles : {&s.wide, &s.tiles, &s.decode})
    for (const QueryTile& t : *tiles)
      for (int i = 0; i < t.num_rows; ++i) {
        const int row = s.rows[size_t(t.first_row + i)].row;
        if (t.slot < 0) {
          ++writers[row];
        } else {
          EXPECT_TRUE(written[row].insert(t.slot + i).second);
          EXPECT_LT(t.slot + i, s.num_slots);
        }
      }
  for (const MergeRow& m : s.merges) {
    ++writers[m.row];
    const std::set<int> merged(s.slots.begin() + m.first_slot, s.slots.begin() + m.first_slot + m.num_slots);
    EXPECT_EQ(merged, written[m.row]);
    EXPECT_EQ(merged.size(), size_t(m.num_slots));
  }
  size_t slots = 0;
  for (const auto& [row, of_row] : written) slots += of_row.size();
  EXPECT_EQ(slots, size_t(s.num_slots));
  for (const AttentionSpan& span : plan.spans)
    for (int i = 0; i < span.q_count; ++i) EXPECT_EQ(writers[span.q_begin + i], 1) << "row " << span.q_begin + i;
}

void check_forward(const AttentionPlan& plan, int heads, int kv_heads, TileSizes sizes) {
  const ForwardSchedule s = schedule_forward(plan, heads, kv_heads, sizes);
  const int pack = packed_heads(heads, kv_heads);
  Pairs pairs;
  for (const QueryTile& t : s.wide) walk_tile(t, s.rows, s.ranges, sizes.wide / pack, pairs);
  for (const QueryTile& t : s.tiles) walk_tile(t, s.rows, s.ranges, sizes.tile / pack, pairs);
  for (const QueryTile& t : s.decode) walk_tile(t, s.rows, s.ranges, kDecodeRows / pack, pairs);
  EXPECT_EQ(pairs, pairs_of(plan));
  check_results(s, plan);
}

void check_backward(const AttentionPlan& plan, int heads, int kv_heads, int kv_rows, int tile_rows) {
  const BackwardSchedule s = schedule_backward(plan, heads, kv_heads, kv_rows, tile_rows);
  Pairs by_queries, by_keys;
  for (const QueryTile& t : s.tiles) {
    walk_tile(t, s.rows, s.ranges, tile_rows / packed_heads(heads, kv_heads), by_queries);
    EXPECT_EQ(t.slot, -1);
  }
  EXPECT_EQ(by_queries, pairs_of(plan));
  int next = 0;
  for (const KeyTile& t : s.key_tiles) {
    EXPECT_EQ(t.begin, next) << "every key row is in one tile";
    EXPECT_GT(t.count, 0);
    EXPECT_LE(t.count, kKeyTileRows);
    next = t.begin + t.count;
    for (int i = 0; i < t.num_rows; ++i) {
      const TileRow row = s.key_rows[size_t(t.first_row + i)];
      EXPECT_LE(row.visible, t.count);
      EXPECT_GE(row.hidden, 0);
      EXPECT_LT(row.hidden, row.visible);
      for (int j = row.hidden; j < row.visible; ++j) ++by_keys[{row.row, t.begin + j}];
    }
  }
  EXPECT_EQ(next, kv_rows);
  EXPECT_EQ(by_keys, pairs_of(plan));
}

TEST(AttentionSchedule, EveryVisiblePairOnce) {
  std::mt19937 random(11);
  for (int trial = 0; trial < 60; ++trial) {
    SCOPED_TRACE(trial);
    const RandomPlan r = random_plan(random, trial % 3);
    const int kv_heads = 1 + trial % 3, heads = kv_heads * (trial % 7 == 0 ? 7 : 1 << trial % 4);
    for (const TileSizes sizes : {TileSizes{kWideRows, kTileRows}, TileSizes{kDecodeRows, kDecodeRows}})
      check_forward(r.plan, heads, kv_heads, sizes);
    check_backward(r.plan, heads, kv_heads, r.kv_rows, kTileRows);
    check_backward(r.plan, heads, kv_heads, r.kv_rows, kDecodeRows);
    if (HasFailure()) return;
  }
}

TEST(AttentionSchedule, EveryPairWithinTheWindowOnce) {
  std::mt19937 random(12);
  for (int trial = 0; trial < 60; ++trial) {
    RandomPlan r = random_plan(random, trial % 2);
    r.plan.window = 1 + int(random() % unsigned(trial % 3 ? 20 : 200));
    SCOPED_TRACE(::testing::Message() << trial << " window " << r.plan.window);
    const int kv_heads = 1 + trial % 3, heads = kv_heads * (trial % 7 == 0 ? 7 : 1 << trial % 4);
    for (const TileSizes sizes : {TileSizes{kWideRows, kTileRows}, TileSizes{kDecodeRows, kDecodeRows}})
      check_forward(r.plan, heads, kv_heads, sizes);
    check_backward(r.plan, heads, kv_heads, r.kv_rows, kTileRows);
    check_backward(r.plan, heads, kv_heads, r.kv_rows, kDecodeRows);
    if (HasFailure()) return;
  }
}

// No tile reads keys that the window hides from all of its rows.
TEST(AttentionSchedule, TilesBeginWithTheirWindow) {
  AttentionPlan plan;
  plan.ranges = {{0, 4000}, {0, 4000}, {5000, 8}};
  plan.spans = {{0, 4000, 0, 1, true}, {4000, 1, 1, 2, true}};
  plan.window = 256;
  const ForwardSchedule s = schedule_forward(plan, 32, 32, {kWideRows, kTileRows});
  for (const auto* tiles : {&s.wide, &s.tiles, &s.decode})
    for (const QueryTile& t : *tiles) {
      int keys = 0;
      for (int r = 0; r < t.num_ranges; ++r) keys += s.ranges[size_t(t.first_range + r)].count;
      EXPECT_LE(keys, 256 + t.num_rows - 1);
    }
  for (const KeyTile& t : schedule_backward(plan, 32, 32, 6000, kTileRows).key_tiles)
    EXPECT_LE(t.num_rows, 256 + kKeyTileRows);
}

// 16 groups of 4 branches on 630 rows: the prompt's tiles hold the four rows, and each key of it is read once a group.
TEST(AttentionSchedule, BranchesOfAPromptShareItsTiles) {
  AttentionPlan plan;
  for (int g = 0; g < 16; ++g) {
    plan.paths.push_back({-1, 0, 630});
    for (int b = 0; b < 4; ++b) {
      plan.spans.push_back({4 * g + b, 1, int32_t(plan.ranges.size()), 2, true, g});
      plan.ranges.push_back({1000 * g, 630});
      plan.ranges.push_back({1000 * g + 640 + 60 * b, 20 + b});
    }
  }
  const ForwardSchedule s = schedule_forward(plan, 32, 32, {kWideRows, kTileRows});
  int64_t keys = 0;
  for (const QueryTile& t : s.decode)
    for (int r = 0; r < t.num_ranges; ++r) keys += s.ranges[size_t(t.first_range + r)].count;
  EXPECT_EQ(keys, 16 * (630 + 20 + 21 + 22 + 23));
  EXPECT_EQ(s.merges.size(), 64u);
  EXPECT_TRUE(s.wide.empty() && s.tiles.empty());
}

// The first branch's rows follow the prompt in memory, so its plan has one range where the others have two.
TEST(AttentionSchedule, SharingDoesNotDependOnHowRangesAreCut) {
  AttentionPlan plan;
  plan.ranges = {{0, 640}, {0, 630}, {700, 10}};
  plan.spans = {{0, 1, 0, 1, true, 0}, {1, 1, 1, 2, true, 0}};
  plan.paths = {{-1, 0, 630}};
  const ForwardSchedule s = schedule_forward(plan, 8, 8, {kWideRows, kTileRows});
  int shared = 0;
  for (const QueryTile& t : s.decode) shared += t.num_rows == 2;
  EXPECT_GT(shared, 0);
  for (const QueryTile& t : s.decode)
    EXPECT_EQ(t.num_rows == 2, s.ranges[size_t(t.first_range)].begin + s.ranges[size_t(t.first_range)].count <= 630);
}

// Three questions about one image of 576 rows, one of them of a longer beginning in common with the first: the image is
// read once for all rows, the rest of the beginning once for two prompts.
TEST(AttentionSchedule, PromptsShareWhatTheyBeginWith) {
  AttentionPlan plan;
  plan.paths = {{-1, 0, 700}, {0, 576, 600}, {0, 676, 690}};
  plan.ranges = {{0, 700}, {0, 576}, {2000, 24}, {0, 676}, {3000, 14}};
  plan.spans = {{0, 1, 0, 1, true, 0}, {1, 1, 1, 2, true, 1}, {2, 1, 3, 2, true, 2}};
  const ForwardSchedule s = schedule_forward(plan, 8, 8, {kWideRows, kTileRows});
  std::map<int, int> keys;  // by the rows that read them together
  for (const QueryTile& t : s.decode)
    for (int r = 0; r < t.num_ranges; ++r) keys[t.num_rows] += s.ranges[size_t(t.first_range + r)].count;
  EXPECT_EQ(keys, (std::map<int, int>{{1, 24 + 24 + 14}, {2, 100}, {3, 576}}));
}

// What spans begin with alike is shared only where the plan says so.
TEST(AttentionSchedule, SpansWithoutAPathShareNothing) {
  AttentionPlan plan;
  plan.ranges = {{0, 640}, {0, 640}};
  plan.spans = {{0, 1, 0, 1, true}, {1, 1, 1, 1, true}};
  for (const QueryTile& t : schedule_forward(plan, 8, 8, {kWideRows, kTileRows}).decode) EXPECT_EQ(t.num_rows, 1);
}

// A training pair at P = 700, A = 60: the prompt's last rows and the answers take the smaller tile.
TEST(AttentionSchedule, TilesFitTheirRows) {
  AttentionPlan plan;
  plan.ranges = {{0, 700}, {0, 700}, {700, 60}, {0, 700}, {760, 60}};
  plan.spans = {{0, 700, 0, 1, true}, {700, 60, 1, 2, true}, {760, 60, 3, 2, true}};
  const ForwardSchedule s = schedule_forward(plan, 32, 32, {kWideRows, kTileRows});
  EXPECT_EQ(s.wide.size(), 5u);
  EXPECT_EQ(s.tiles.size(), 3u);
  EXPECT_TRUE(s.decode.empty());
}

// One sequence alone is cut into parts for the whole card, a full batch is not.
TEST(AttentionSchedule, PartsFollowFromTheWork) {
  const auto tiles_of = [](int sequences) {
    AttentionPlan plan;
    for (int i = 0; i < sequences; ++i) {
      plan.spans.push_back({i, 1, i, 1, true});
      plan.ranges.push_back({1024 * i, 1024});
    }
    return int(schedule_forward(plan, 32, 32, {kWideRows, kTileRows}).decode.size());
  };
  EXPECT_EQ(tiles_of(1), 1024 / kMinPart);
  EXPECT_EQ(tiles_of(64), 64);
}

}  // namespace
}  // namespace vpref::cuda
