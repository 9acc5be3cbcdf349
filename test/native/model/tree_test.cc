// SPDX-License-Identifier: Apache-2.0
#include "model/tree.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace vpref {
namespace {

// A prompt of two tokens, an image of three rows and one token, then two branches.
std::vector<SegmentInput> pair() {
  return {{.parent = -1, .token_ids = {1, 5, -1, -1, -1, 6}, .images = {0}, .image_rows = {3}},
          {.parent = 0, .token_ids = {7, 8, 2}, .branch = 0},
          {.parent = 0, .token_ids = {9, 2}, .branch = 1}};
}

TEST(Tree, PacksBranchesBehindTheirPrompt) {
  const TreeBatch b = pack_tree(pair());
  EXPECT_EQ(b.token_ids, (std::vector<int32_t>{1, 5, -1, -1, -1, 6, 7, 8, 2, 9, 2}));
  EXPECT_EQ(b.positions, (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 7}));
  ASSERT_EQ(b.images.size(), 1u);
  EXPECT_EQ(b.images[0].row_begin, 2);
  EXPECT_EQ(b.images[0].row_count, 3);
}

TEST(Tree, TheParentsLastRowPredictsTheFirstTokenOfEveryChild) {
  const TreeBatch b = pack_tree(pair());
  EXPECT_EQ(b.target_rows, (std::vector<int32_t>{5, 6, 7, 5, 9}));
  EXPECT_EQ(b.targets, (std::vector<int32_t>{7, 8, 2, 9, 2}));
  EXPECT_EQ(b.target_branch, (std::vector<int32_t>{0, 0, 0, 1, 1}));
  EXPECT_EQ(b.num_branches, 2);
}

TEST(Tree, OnlyScoredTokensAreTargets) {
  auto segments = pair();
  segments[1].scored = {0, 1, 1};
  EXPECT_EQ(pack_tree(segments).target_rows, (std::vector<int32_t>{6, 7, 5, 9}));
}

TEST(Tree, TwoTreesAndDepthThree) {
  const TreeBatch b = pack_tree({{.parent = -1, .token_ids = {1}},
                                 {.parent = 0, .token_ids = {3, 4}},
                                 {.parent = 1, .token_ids = {5}, .branch = 0},
                                 {.parent = -1, .token_ids = {1, 6}}});
  EXPECT_EQ(b.positions, (std::vector<int32_t>{0, 1, 2, 3, 0, 1}));
  const AttentionPlan plan = tree_attention_plan(b.segments);
  ASSERT_EQ(plan.spans.size(), 4u);
  EXPECT_EQ(plan.spans[2].num_ranges, 3);
  EXPECT_EQ(plan.ranges[plan.spans[2].first_range].begin, 0);
  EXPECT_EQ(plan.ranges[plan.spans[2].first_range + 1].count, 2);
  EXPECT_EQ(plan.spans[3].num_ranges, 1);
}

TEST(Tree, TwoImagesSideBySide) {
  const TreeBatch b =
      pack_tree({{.parent = -1, .token_ids = {1, -1, -1, -1, -1, 6}, .images = {4, 2}, .image_rows = {2, 2}}});
  ASSERT_EQ(b.images.size(), 2u);
  EXPECT_EQ(b.images[1].image, 2);
  EXPECT_EQ(b.images[1].row_begin, 3);
}

TEST(Tree, RefusesWhatIsNotATree) {
  EXPECT_THROW(pack_tree({{.parent = 0, .token_ids = {1}}}), Error);
  EXPECT_THROW(pack_tree({{.parent = -1, .token_ids = {}}}), Error);
  EXPECT_THROW(pack_tree({{.parent = -1, .token_ids = {1}, .branch = 0}}), Error);
  EXPECT_THROW(pack_tree({{.parent = -1, .token_ids = {1, -1}}}), Error);
  EXPECT_THROW(pack_tree({{.parent = -1, .token_ids = {1, -1, 2}, .images = {0}, .image_rows = {2}}}), Error);
}

}  // namespace
}  // namespace vpref
