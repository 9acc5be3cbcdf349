// SPDX-License-Identifier: Apache-2.0
// Expected numbers are written by hand.
// Covers native/model/positions.h native/ops/kv_ranges.h
#include "model/tree.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace vpref {
namespace {

using Ints = std::vector<int32_t>;

constexpr int32_t kImage = 50;  // the image token's id

ModelConfig config_with(int32_t num_axes) {
  ModelConfig c;
  c.text.vocab_size = 100;
  c.text.max_position_embeddings = 64;
  c.text.num_position_axes = num_axes;
  c.has_vision = true;
  c.image_token_id = kImage;
  return c;
}

TreeImage image(Ints runs, uint64_t key = 0) { return {{std::move(runs), {}, 0}, key}; }

// The layout of one run, y rows of x columns in row-major order; the counter then grows by the larger side (Qwen2-VL
// and later).
TreeImage grid(int32_t y, int32_t x, uint64_t key = 0) {
  TreeImage out{{{y * x}, {}, std::max(y, x)}, key};
  for (int32_t i = 0; i < y * x; ++i) out.layout.offsets.push_back({0, i / x, i % x});
  return out;
}

TreeBatch pack(const std::vector<SegmentInput>& segments, const std::vector<TreeImage>& images = {},
               int32_t num_axes = 1) {
  const ModelConfig config = config_with(num_axes);
  TreePacker packer(config, /*shares_prefixes=*/false);
  packer.add(segments, images, "");
  return packer.take();
}

// The error message.
std::string refusal(const std::vector<SegmentInput>& segments, const std::vector<TreeImage>& images = {}) {
  try {
    pack(segments, images);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "request");
    return e.what();
  }
  return "none";
}

void expect_pieces(const std::vector<ImagePiece>& got, const std::vector<Ints>& image_first_row_count) {
  ASSERT_EQ(got.size(), image_first_row_count.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ((Ints{got[i].image, got[i].first, got[i].row, got[i].count}), image_first_row_count[i]) << "piece " << i;
}

void expect_ranges(const KvRanges& got, const std::vector<Ints>& begin_count) {
  ASSERT_EQ(got.size(), begin_count.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ((Ints{got[i].begin, got[i].count}), begin_count[i]) << "range " << i;
}

// A prompt of two tokens, an image of three rows and one token, then two branches.
std::vector<SegmentInput> pair() {
  return {{.parent = -1, .token_ids = {1, 5, kImage, kImage, kImage, 6}, .images = {0}},
          {.parent = 0, .token_ids = {7, 8, 2}, .branch = 0},
          {.parent = 0, .token_ids = {9, 2}, .branch = 1}};
}

TEST(Tree, PacksBranchesAfterTheirPrompt) {
  const TreeBatch b = pack(pair(), {image({3})});
  EXPECT_EQ(b.token_ids, (Ints{1, 5, -1, -1, -1, 6, 7, 8, 2, 9, 2}));
  EXPECT_EQ(b.positions.by_axis(), (Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 7}));
  expect_pieces(b.images, {{0, 0, 2, 3}});
}

TEST(Tree, TheParentsLastRowPredictsTheFirstTokenOfEveryChild) {
  const TreeBatch b = pack(pair(), {image({3})});
  EXPECT_EQ(b.target_rows, (Ints{5, 6, 7, 5, 9}));
  EXPECT_EQ(b.targets, (Ints{7, 8, 2, 9, 2}));
  EXPECT_EQ(b.target_branch, (Ints{0, 0, 0, 1, 1}));
  EXPECT_EQ(b.num_branches, 2);
}

TEST(Tree, OnlyScoredTokensAreTargets) {
  auto segments = pair();
  segments[1].scored = {0, 1, 1};
  EXPECT_EQ(pack(segments, {image({3})}).target_rows, (Ints{6, 7, 5, 9}));
}

TEST(Tree, PacksTwoTreesAndDepthThree) {
  const TreeBatch b = pack({{.parent = -1, .token_ids = {1}},
                            {.parent = 0, .token_ids = {3, 4}},
                            {.parent = 0, .token_ids = {7}},
                            {.parent = 2, .token_ids = {5}, .branch = 0},
                            {.parent = -1, .token_ids = {1, 6}}});
  EXPECT_EQ(b.positions.by_axis(), (Ints{0, 1, 2, 1, 2, 0, 1}));
  expect_ranges(b.segments[1].ranges, {{0, 1}, {1, 2}});
  expect_ranges(b.segments[3].ranges, {{0, 1}, {3, 1}, {4, 1}});  // not the rows of its parent's sibling
  expect_ranges(b.segments[4].ranges, {{5, 2}});
  const AttentionPlan plan = tree_attention_plan(b);
  ASSERT_EQ(plan.spans.size(), 5u);
  EXPECT_EQ(plan.spans[3].q_begin, 4);
  EXPECT_EQ(plan.spans[3].num_ranges, 3);
  EXPECT_EQ(plan.ranges[size_t(plan.spans[3].first_range) + 1].begin, 3);
}

TEST(Tree, ImagesMayHaveDifferentLengths) {
  const TreeBatch b =
      pack({{.parent = -1, .token_ids = {1, kImage, kImage, kImage, kImage, kImage, 6}, .images = {2, 0}}},
           {image({3}), image({7}), image({2})});
  EXPECT_EQ(b.token_ids, (Ints{1, -1, -1, -1, -1, -1, 6}));
  expect_pieces(b.images, {{2, 0, 1, 2}, {0, 0, 3, 3}});
}

// Tiles: text separates the runs of one image.
TEST(Tree, TextMaySeparateRunsOfOneImage) {
  const Ints ids = {1, 60, kImage, kImage, 61, kImage, kImage, 62, kImage, 63, kImage, kImage, kImage, 4};
  const TreeBatch b = pack({{.parent = -1, .token_ids = ids, .images = {0, 1}}}, {image({2, 2, 1}), image({3})});
  EXPECT_EQ(b.token_ids, (Ints{1, 60, -1, -1, 61, -1, -1, 62, -1, 63, -1, -1, -1, 4}));
  EXPECT_EQ(b.positions.by_axis(), (Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}));
  expect_pieces(b.images, {{0, 0, 2, 2}, {0, 2, 5, 2}, {0, 4, 8, 1}, {1, 0, 10, 3}});
}

// Adjacent runs are distinguished by their lengths.
TEST(Tree, AdjacentRunsAreSplitByTheirLengths) {
  const TreeBatch b = pack({{.parent = -1, .token_ids = {kImage, kImage, kImage, 1}, .images = {0}}}, {image({1, 2})});
  expect_pieces(b.images, {{0, 0, 0, 1}, {0, 1, 1, 2}});
}

// 2 x 3 rows at counter 2: (2, 2 + y, 2 + x), and the counter grows by 3, not by the 6 rows; then 3 x 1.
TEST(Tree, PositionsFollowTheThreeAxesOfAnImage) {
  Ints ids = {1, 60, kImage, kImage, kImage, kImage, kImage, kImage, 61, 62, kImage, kImage, kImage, 63};
  const TreeBatch b = pack({{.parent = -1, .token_ids = ids, .images = {0, 1}},
                            {.parent = 0, .token_ids = {7, 8}, .branch = 0},
                            {.parent = 0, .token_ids = {9}, .branch = 1}},
                           {grid(2, 3), grid(3, 1)}, 3);
  EXPECT_EQ(b.positions.by_axis(), (Ints{
                                       0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 7, 7, 7, 10, 11, 12, 11,  // t
                                       0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7, 8, 9, 10, 11, 12, 11,  // h
                                       0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7, 7, 7, 10, 11, 12, 11,  // w
                                   }));
}

// A later turn has another image; both branches begin after that image's span.
TEST(Tree, BranchesMayFollowAnImageInALaterTurn) {
  const TreeBatch b = pack({{.parent = -1, .token_ids = {1, kImage, kImage, kImage, kImage, 6}, .images = {0}},
                            {.parent = 0, .token_ids = {7, 2}, .branch = 0},
                            {.parent = 1, .token_ids = {5, kImage, kImage}, .images = {1}},
                            {.parent = 2, .token_ids = {8, 2}, .branch = 1},
                            {.parent = 2, .token_ids = {9}, .branch = 2}},
                           {grid(2, 2), grid(1, 2)}, 3);
  const Ints t = {0, 1, 1, 1, 1, 3, 4, 5, 6, 7, 7, 9, 10, 9}, h = {0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 7, 9, 10, 9},
             w = {0, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 9};
  Ints all = t;
  all.insert(all.end(), h.begin(), h.end());
  all.insert(all.end(), w.begin(), w.end());
  EXPECT_EQ(b.positions.by_axis(), all);
  expect_pieces(b.images, {{0, 0, 1, 4}, {1, 0, 9, 2}});
  EXPECT_EQ(b.target_rows, (Ints{5, 6, 10, 11, 10}));
  expect_ranges(b.segments[4].ranges, {{0, 6}, {6, 2}, {8, 3}, {13, 1}});
}

// Images and branches of a later tree have higher numbers than those of earlier trees.
TEST(Tree, SeveralTreesAreNumberedThrough) {
  const ModelConfig config = config_with(1);
  TreePacker packer(config, /*shares_prefixes=*/false);
  packer.add(pair(), std::vector<TreeImage>{image({3}), image({3})}, "");
  packer.add(pair(), std::vector<TreeImage>{image({3})}, "");
  const TreeBatch b = packer.take();
  EXPECT_EQ(b.segments[4].parent, 3);
  EXPECT_EQ(b.positions.at(0, 11), 0);
  expect_pieces(b.images, {{0, 0, 2, 3}, {2, 0, 13, 3}});
  EXPECT_EQ(b.target_branch, (Ints{0, 0, 0, 1, 1, 2, 2, 2, 3, 3}));
  EXPECT_EQ(b.num_images, 3);
}

TEST(Tree, RootsShareTheirCommonPrefix) {
  const ModelConfig config = config_with(1);
  TreePacker packer(config, /*shares_prefixes=*/true);
  const Ints ids = {1, kImage, kImage, kImage, 6};
  const auto question = [&](Ints tail, uint64_t key) {
    Ints all = ids;
    all.insert(all.end(), tail.begin(), tail.end());
    packer.add(std::vector<SegmentInput>{{.parent = -1, .token_ids = all, .images = {0}},
                                         {.parent = 0, .token_ids = {2}, .branch = 0}},
               std::vector<TreeImage>{image({2, 1}, key)}, "");
  };
  question({7, 8}, 11);  // rows 0..6; a response of one token keeps no row
  question({7, 9}, 12);  // another image: shares only row 0, its own rows are 7..12
  question({7, 9}, 11);  // shares the first six rows of the first
  question({7, 8}, 11);  // equal to the whole first one
  const TreeBatch b = packer.take();
  EXPECT_EQ(b.token_ids, (Ints{1, -1, -1, -1, 6, 7, 8, -1, -1, -1, 6, 7, 9, 9}));
  EXPECT_EQ(b.positions.by_axis(), (Ints{0, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 6}));
  expect_pieces(b.images, {{0, 0, 1, 2}, {0, 2, 3, 1}, {1, 0, 7, 2}, {1, 2, 9, 1}});
  expect_ranges(b.segments[3].ranges, {{0, 1}, {7, 6}});
  expect_ranges(b.segments[4].ranges, {{0, 6}, {13, 1}});
  expect_ranges(b.segments[7].ranges, {{0, 7}});
  EXPECT_EQ(b.segments[6].row_count, 0);
  EXPECT_EQ(b.target_rows, (Ints{6, 12, 13, 6}));
  EXPECT_EQ(b.targets, (Ints{2, 2, 2, 2}));
  EXPECT_EQ(tree_attention_plan(b).spans.size(), 3u);
}

TEST(Tree, ScoringDropsTheLastRowOfALeafResponse) {
  const ModelConfig config = config_with(1);
  const std::vector<SegmentInput> segments = {{.parent = -1, .token_ids = {1, 4}},
                                              {.parent = 0, .token_ids = {5, 6, 2}, .branch = 0},
                                              {.parent = 0, .token_ids = {7, 2}, .branch = 1},
                                              {.parent = 2, .token_ids = {8, 9}, .branch = 2}};
  TreePacker scoring(config, /*shares_prefixes=*/true), training(config, /*shares_prefixes=*/false);
  scoring.add(segments, {}, "");
  training.add(segments, {}, "");
  const TreeBatch b = scoring.take(), whole = training.take();
  EXPECT_EQ(b.token_ids, (Ints{1, 4, 5, 6, 7, 2, 8}));
  EXPECT_EQ(whole.token_ids, (Ints{1, 4, 5, 6, 2, 7, 2, 8, 9}));
  EXPECT_EQ(b.targets, whole.targets);
  EXPECT_EQ(b.target_rows, (Ints{1, 2, 3, 1, 4, 5, 6}));
}

// The keys of a path are the first keys of its spans' ranges, so kernels that read them once for several spans read the
// right ones.
void expect_paths_are_the_keys(const TreeBatch& batch) {
  const AttentionPlan plan = tree_attention_plan(batch);
  ASSERT_EQ(plan.paths.size(), batch.segments.size());
  for (size_t i = 0; i < batch.segments.size(); ++i) {
    const KeyPath& path = plan.paths[i];
    const KvRanges& keys = batch.segments[i].ranges;
    EXPECT_EQ(path.num_keys, count_keys(keys)) << i;
    const KvRanges parents = path.parent < 0 ? KvRanges() : batch.segments[size_t(path.parent)].ranges;
    const KvRanges of_parent = cut(parents, 0, path.shared), own = cut(keys, 0, path.shared);
    ASSERT_EQ(of_parent.size(), own.size()) << i;
    for (size_t r = 0; r < own.size(); ++r)
      EXPECT_EQ((Ints{own[r].begin, own[r].count}), (Ints{of_parent[r].begin, of_parent[r].count})) << i;
  }
  for (const AttentionSpan& span : plan.spans) EXPECT_EQ(plan.paths[size_t(span.path)].num_keys, num_keys(plan, span));
}

TEST(Tree, PathsDescribeTheCommonKeysOfSpans) {
  expect_paths_are_the_keys(pack(pair(), {image({3})}));
  const ModelConfig config = config_with(1);
  TreePacker packer(config, /*shares_prefixes=*/true);
  const auto add = [&](Ints root) {
    packer.add(std::vector<SegmentInput>{{.parent = -1, .token_ids = std::move(root)},
                                         {.parent = 0, .token_ids = {7, 8}, .branch = 0},
                                         {.parent = 0, .token_ids = {9}},
                                         {.parent = 2, .token_ids = {10, 11}, .branch = 1}},
               {}, "");
  };
  add({1, 2, 3, 4, 5});
  add({1, 2, 3, 6, 6});  // three rows of the first
  add({1, 2, 3, 6, 4});  // four of the second, three of which are the first's
  add({1, 2, 3, 4, 5});  // no rows of its own
  add({2});
  const TreeBatch batch = packer.take();
  expect_paths_are_the_keys(batch);
  const auto of_root = [&](size_t root) {
    const KeyPath& p = batch.segments[4 * root].path;
    return Ints{p.parent, p.shared, p.num_keys};
  };
  EXPECT_EQ(of_root(0), (Ints{-1, 0, 5}));
  EXPECT_EQ(of_root(1), (Ints{0, 3, 5}));
  EXPECT_EQ(of_root(2), (Ints{4, 4, 5}));
  EXPECT_EQ(of_root(3), (Ints{0, 5, 5}));
  EXPECT_EQ(of_root(4), (Ints{-1, 0, 1}));
}

TEST(Tree, AnEqualIdIsNotAnEqualImageRow) {
  const ModelConfig config = config_with(1);
  const TreeImage images[] = {image({1}, 3)};
  const SegmentRows with = expand_segment(config, {.token_ids = {1, kImage}, .images = {0}}, images, 0, "prompt");
  const SegmentRows text = expand_segment(config, {.token_ids = {1, 2}}, {}, 0, "prompt");
  EXPECT_EQ(common_prefix(with.keys, text.keys), 1);
}

TEST(Tree, ImagePiecesAreCutToARangeOfRows) {
  const std::vector<ImagePiece> pieces = {{0, 0, 2, 4}, {0, 4, 8, 2}, {1, 0, 10, 3}};
  expect_pieces(cut(pieces, 4, 5, 100), {{0, 2, 100, 2}, {0, 4, 104, 1}});
  expect_pieces(cut(pieces, 9, 4, 0), {{0, 5, 0, 1}, {1, 0, 1, 3}});
  expect_pieces(cut(pieces, 0, 2, 0), {});
}

// A model may generate the image token.
TEST(Tree, EveryIdOfAResponseIsAToken) {
  const TreeBatch b = pack({{.parent = -1, .token_ids = {1}}, {.parent = 0, .token_ids = {kImage, 2}, .branch = 0}});
  EXPECT_EQ(b.token_ids, (Ints{1, kImage, 2}));
  EXPECT_EQ(b.targets, (Ints{kImage, 2}));
}

TEST(Tree, RefusesImagesThatDisagreeWithTheIds) {
  const auto prompt = [](Ints ids, Ints images) {
    return std::vector<SegmentInput>{{.parent = -1, .token_ids = std::move(ids), .images = std::move(images)}};
  };
  const std::vector<TreeImage> images = {image({2}), image({1, 3})};
  EXPECT_EQ(refusal(prompt({1, kImage, 2}, {0}), images),
            "segments[0]: image 0: expected 2 image tokens in a row, got 1");
  EXPECT_EQ(refusal(prompt({1, kImage, kImage, 4, kImage, 5, kImage, kImage}, {0, 1}), images),
            "segments[0]: image 1: expected 3 image tokens in a row (run 2 of 2), got 2");
  EXPECT_EQ(refusal(prompt({1, kImage, kImage}, {0, 1}), images),
            "segments[0]: image 1: expected 1 image tokens in a row (run 1 of 2), got 0");
  EXPECT_EQ(refusal(prompt({1, kImage, kImage, kImage}, {0}), images),
            "segments[0]: image tokens: expected 2 for 1 images, got 3");
  EXPECT_EQ(refusal(prompt({1, kImage}, {}), images), "segments[0]: image tokens: expected 0 for 0 images, got 1");
  EXPECT_EQ(refusal(prompt({1, kImage, kImage}, {2}), images), "segments[0]: images: expected an index below 2, got 2");
  EXPECT_EQ(
      refusal({{.parent = -1, .token_ids = {1}}, {.parent = 0, .token_ids = {2}, .images = {0}, .branch = 0}}, images),
      "segments[1]: images: expected none in a response, got 1");
}

TEST(Tree, SegmentsThatAreNoTreeAreRefused) {
  EXPECT_EQ(refusal({}), "segments: expected at least one, got none");
  EXPECT_EQ(refusal({{.parent = 0, .token_ids = {1}}}),
            "segments[0]: parent: expected an earlier segment or -1, got 0");
  EXPECT_EQ(refusal({{.parent = -1, .token_ids = {}}}), "segments[0]: expected token ids, got none");
  EXPECT_EQ(refusal({{.parent = -1, .token_ids = {1, 100}}}), "segments[0]: token id: expected 0..99, got 100");
  EXPECT_EQ(refusal({{.parent = -1, .token_ids = {-1}}}), "segments[0]: token id: expected 0..99, got -1");
  EXPECT_EQ(refusal({{.parent = -1, .token_ids = {1}, .branch = 0}}),
            "segments[0]: expected a parent, since its first token is scored");
  EXPECT_EQ(refusal({{.parent = -1, .token_ids = {1}}, {.parent = 0, .token_ids = {1, 2}, .branch = 0, .scored = {1}}}),
            "segments[1]: scored: expected 2 values, one per token, got 1");
}

// The limit is on positions, not rows: the 100 rows of a 10 x 10 image span 10 positions.
TEST(Tree, TheModelsPositionsAreTheLimit) {
  EXPECT_EQ(refusal({{.parent = -1, .token_ids = Ints(60, 1)}, {.parent = 0, .token_ids = Ints(5, 1)}}),
            "segments[1]: expected at most 64 positions (max_position_embeddings), got 65");
  Ints ids(100, kImage);
  ids.push_back(1);
  EXPECT_EQ(pack({{.parent = -1, .token_ids = ids, .images = {0}}}, {grid(10, 10)}, 3).positions.at(0, 100), 10);
}

}  // namespace
}  // namespace vpref
