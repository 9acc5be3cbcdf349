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
// Callers pass the image token's own id, once per image row. Only this file replaces it by -1,
// and only this file assigns positions. Sampling, scoring and training all use it.
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
  uint64_t key = 0;  // equal keys mean equal images; for prompts that share rows
};

// A segment before packing.
struct SegmentInput {
  int32_t parent = -1;             // index of an earlier segment of the tree, or -1
  std::vector<int32_t> token_ids;  // the image token's id once per image row
  std::vector<int32_t> images;     // indices of its images among the tree's images, in order
  int32_t branch = -1;             // responses: the branch of its log-probabilities; every id is a token
  std::vector<uint8_t> scored;     // responses: per token, is it a target? empty: all (multi-turn SFT masks some)
  int64_t num_scored() const {     // of a response
    return scored.empty() ? int64_t(token_ids.size()) : std::count(scored.begin(), scored.end(), 1);
  }
};

// Rows [row, row + count) of the segment are rows [first, first + count) of an image.
struct ImagePiece {
  int32_t image;
  int32_t first;
  int32_t row;
  int32_t count;
};

// The parts of `pieces` in rows [first, first + count), moved to row `at`.
std::vector<ImagePiece> cut(std::span<const ImagePiece> pieces, int32_t first, int32_t count, int32_t at);

// The expanded rows of a segment.
struct SegmentRows {
  std::vector<int32_t> token_ids;  // -1 on image rows
  Positions positions;
  std::vector<ImagePiece> images;  // one per run
  std::vector<uint64_t> keys;      // one per row; trees whose first keys are equal have equal first rows
  int32_t next_position = 0;       // position of the row after the last
  int32_t size() const { return int32_t(token_ids.size()); }
};

// Expands a segment: finds the images' runs and assigns positions from `position`. Throws Error{"request"}, starting
// with `what`, if an id is not in the vocabulary, a run is incomplete, ids and images disagree, or the model has no
// such position.
SegmentRows expand_segment(const ModelConfig& config, const SegmentInput& input, std::span<const TreeImage> images,
                           int32_t position, const std::string& what);

// Number of leading rows that two roots have in common.
int32_t common_prefix(std::span<const uint64_t> a, std::span<const uint64_t> b);

struct Segment {
  int32_t parent;     // index of an earlier segment, or -1
  int32_t row_begin;  // own packed rows [row_begin, row_begin + row_count), without rows shared with another root
  int32_t row_count;  // 0 if all rows are in an earlier root, or if it is a scored response of one token
  KvRanges ranges;    // all rows that its last row attends to, ancestor by ancestor
  KeyPath path;       // the same as a path; parents are segment indices
  int32_t last_row() const { return ranges.back().begin + ranges.back().count - 1; }
};

// One micro-batch, packed. Images and branches are numbered over all trees.
struct TreeBatch {
  std::vector<Segment> segments;   // parents before children
  std::vector<int32_t> token_ids;  // [T]; -1 on image rows
  Positions positions;             // [P,T]
  std::vector<ImagePiece> images;
  // Rows whose next token is scored, and their targets, grouped by branch.
  std::vector<int32_t> target_rows;    // [R] packed row that predicts
  std::vector<int32_t> targets;        // [R] token id
  std::vector<int32_t> target_branch;  // [R] index of the branch in [0, num_branches)
  int32_t num_branches = 0, num_images = 0;
  int32_t num_rows() const { return int32_t(token_ids.size()); }
};

// Packs trees in sequence.
class TreePacker {
 public:
  // shares_prefixes (scoring only): packs the leading rows that roots have in common once, and drops the last row of
  // each response, which predicts nothing.
  TreePacker(const ModelConfig& config, bool shares_prefixes);
  // Throws Error{"request"} as expand_segment does, with "segments[i]" after `what`; also if the segments are not a
  // tree, or a scored token has no row that predicts it.
  void add(std::span<const SegmentInput> segments, std::span<const TreeImage> images, const std::string& what);
  const TreeBatch& batch() const { return batch_; }
  TreeBatch take() { return std::move(batch_); }

 private:
  void share(const std::vector<uint64_t>& keys, Segment& root) const;
  void add_targets(const SegmentInput& in, int32_t first_branch, const std::string& what);

  const ModelConfig& config_;
  bool shares_prefixes_;
  TreeBatch batch_;
  std::vector<int32_t> next_position_;            // per segment
  std::vector<std::vector<uint64_t>> root_keys_;  // keys of each root that others may share, else empty
};

// The paths of all segments, in order.
std::vector<KeyPath> key_paths(const TreeBatch& batch);

// The attention plan of packed rows without a cache: each span attends to its segment's ranges.
AttentionPlan tree_attention_plan(const TreeBatch& batch);

}  // namespace vpref
