// SPDX-License-Identifier: Apache-2.0
// The prefix tree: a batch as packed rows of segments with parents. A segment attends to its ancestors whole and
// causally to itself. Depth 1 is prompt + branches (4 samples, chosen + K rejected); deeper trees serve clean and
// distorted views, mDPO, multi-turn.
//
//   pair 0:  [ <s> USER : <image>x576 Q ASSISTANT : ][ chosen </s> ][ rejected </s> ]     rows 0..P-1, P..P+A-1, P+A..
//   segment       0 (parent -1, positions 0..P-1)     1 (parent 0)    2 (parent 0)        both start at P
//
// The last row of the parent predicts the first token of every child, so its gradient is the sum over the children.
#pragma once
#include <cstdint>
#include <vector>

#include "ops/attention.h"

namespace vpref {

struct Segment {
  int32_t parent;     // index of an earlier segment, or -1
  int32_t row_begin;  // packed rows [row_begin, row_begin + row_count)
  int32_t row_count;
};

// Where an image's rows go.
struct ImageSlot {
  int32_t image;      // index into the batch's images
  int32_t row_begin;  // packed row of its first projected patch
  int32_t row_count;
};

// One micro-batch, ready for the model.
struct TreeBatch {
  std::vector<Segment> segments;   // parents before children
  std::vector<int32_t> token_ids;  // [T]; -1 on image rows
  std::vector<int32_t> positions;  // [T]
  std::vector<ImageSlot> images;   // each distinct image once per place it stands in
  // Rows whose next token is scored: row -> target, grouped by branch.
  std::vector<int32_t> target_rows;    // [R] packed row that predicts
  std::vector<int32_t> targets;        // [R] token id
  std::vector<int32_t> target_branch;  // [R] index of the branch in [0, num_branches)
  int32_t num_branches = 0;
  int32_t num_rows() const { return int32_t(token_ids.size()); }
};

// A segment before packing: tokens with image places (each image token already expanded: `num_image_rows` entries of
// -1).
struct SegmentInput {
  int32_t parent = -1;              // index into the same list
  std::vector<int32_t> token_ids;   // -1 = a row of an image
  std::vector<int32_t> images;      // image of each run of -1 rows, in order
  std::vector<int32_t> image_rows;  // length of each run
  int32_t branch = -1;              // branch whose tokens are scored, -1 for a prompt
  std::vector<uint8_t> scored;  // per token: is it a target? empty = all when branch >= 0 (multi-turn SFT masks some)
};

// Packs segments in the given order. Positions continue from the parent's last; the first token of a segment is
// predicted by the parent's last row. Throws Error{"internal"} when a parent stands after its child or the first
// segment of a tree is scored from nothing.
TreeBatch pack_tree(const std::vector<SegmentInput>& segments);

// The attention plan of packed rows (training, scoring, prefill of new rows): ancestors' ranges in order, then the
// segment itself, causal.
AttentionPlan tree_attention_plan(const std::vector<Segment>& segments);

}  // namespace vpref
