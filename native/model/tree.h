// SPDX-License-Identifier: Apache-2.0
// The prefix tree: a batch as packed rows of segments with parents. A segment attends to its ancestors whole and
// causally to itself. Depth 1 is prompt + branches (4 samples, chosen + K rejected); deeper trees serve clean and
// distorted views, mDPO, multi-turn.
//
//   pair 0:  [ <s> USER : <image>x576 Q ASSISTANT : ][ chosen </s> ][ rejected </s> ]     rows 0..P-1, P..P+A-1, P+A..
//   segment       0 (parent -1, positions 0..P-1)     1 (parent 0)    2 (parent 0)        both start at P
//
// The last row of the parent predicts the first token of every child, so its gradient is the sum over the children.
//
// Ids come as they are at the border: the image token's own id stands once per image row. Here alone it becomes -1, and
// here alone rows get their positions. Sampling's prompts, scoring and training all come from it.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/image_layout.h"
#include "model/model.h"
#include "model/positions.h"
#include "ops/attention.h"

namespace vpref {

// An image of a tree.
struct TreeImage {
  ImageLayout layout;
  uint64_t key = 0;  // equal keys are equal images; for rows that prompts share
};

// A segment before packing.
struct SegmentInput {
  int32_t parent = -1;             // index of an earlier segment of the tree, or -1
  std::vector<int32_t> token_ids;  // the image token once per image row
  std::vector<int32_t> images;     // index of each image among the tree's, in order
  int32_t branch = -1;             // of a response: where its log-probabilities count; every id of it is a token
  std::vector<uint8_t> scored;     // per token of a response: is it a target? empty: all (multi-turn SFT masks some)
  int64_t num_scored() const {     // of a response
    return scored.empty() ? int64_t(token_ids.size()) : std::count(scored.begin(), scored.end(), 1);
  }
};

// Rows [row, row + count) are rows [first, first + count) of an image.
struct ImagePiece {
  int32_t image;
  int32_t first;
  int32_t row;
  int32_t count;
};

// The parts of pieces in rows [first, first + count), which stand at row `at`.
std::vector<ImagePiece> cut(std::span<const ImagePiece> pieces, int32_t first, int32_t count, int32_t at);

// A segment's rows.
struct SegmentRows {
  std::vector<int32_t> token_ids;  // -1 on image rows
  Positions positions;
  std::vector<ImagePiece> images;  // one per run
  std::vector<uint64_t> keys;      // one per row: equal keys from the first row of a tree on are equal rows
  int32_t next_position = 0;       // of the row after the last
  int32_t size() const { return int32_t(token_ids.size()); }
};

// Finds the images' runs and counts the positions on from `position`. Throws Error{"request"}, which begins with
// `what`, where an id is not in the vocabulary, a run is not whole, ids and images disagree, or the model has no such
// position.
SegmentRows expand_segment(const ModelConfig& config, const SegmentInput& input, std::span<const TreeImage> images,
                           int32_t position, const std::string& what);

// Leading rows that two roots have in common.
int32_t common_prefix(std::span<const uint64_t> a, std::span<const uint64_t> b);

struct Segment {
  int32_t parent;     // index of an earlier segment, or -1
  int32_t row_begin;  // packed rows [row_begin, row_begin + row_count): its own, without what it shares with a root
  int32_t row_count;  // 0 where all of it stands in an earlier root, or a response of one token is scored
  KvRanges ranges;    // all that its last row sees, ancestor by ancestor
  KeyPath path;       // the same as a path; parents are segments
  int32_t last_row() const { return ranges.back().begin + ranges.back().count - 1; }
};

// One micro-batch, ready for the model. Images and branches are numbered through all trees.
struct TreeBatch {
  std::vector<Segment> segments;   // parents before children
  std::vector<int32_t> token_ids;  // [T]; -1 on image rows
  Positions positions;             // [P,T]
  std::vector<ImagePiece> images;
  // Rows whose next token is scored: row -> target, grouped by branch.
  std::vector<int32_t> target_rows;    // [R] packed row that predicts
  std::vector<int32_t> targets;        // [R] token id
  std::vector<int32_t> target_branch;  // [R] index of the branch in [0, num_branches)
  int32_t num_branches = 0, num_images = 0;
  int32_t num_rows() const { return int32_t(token_ids.size()); }
};

// Packs trees one after the other.
class TreePacker {
 public:
  // shares_prefixes, for scoring alone: leading rows that a root has in common with an earlier one are packed once, and
  // the last row of a response, from which nothing is predicted, is left out.
  TreePacker(const ModelConfig& config, bool shares_prefixes);
  // Throws Error{"request"} as expand_segment does, "segments[i]" after `what`; also where the segments are no tree, or
  // a token is scored that nothing predicts.
  void add(std::span<const SegmentInput> segments, std::span<const TreeImage> images, const std::string& what);
  const TreeBatch& batch() const { return batch_; }
  TreeBatch take() { return std::move(batch_); }

 private:
  void share(const std::vector<uint64_t>& keys, Segment& root) const;
  void add_targets(const SegmentInput& in, int32_t first_branch, const std::string& what);

  const ModelConfig& config_;
  bool shares_prefixes_;
  TreeBatch batch_;
  std::vector<int32_t> next_position_;            // of each segment
  std::vector<std::vector<uint64_t>> root_keys_;  // of each root that others may share, else empty
};

// The paths of all segments, in their order.
std::vector<KeyPath> key_paths(const TreeBatch& batch);

// The attention plan of packed rows without a cache: every span sees its segment's ranges.
AttentionPlan tree_attention_plan(const TreeBatch& batch);

}  // namespace vpref
