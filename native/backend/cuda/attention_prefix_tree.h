// SPDX-License-Identifier: Apache-2.0
// The tree of a plan's paths, for decoding: the keys of a node are read once for all rows below it. Host only; the
// scheduler cuts its nodes into tiles.
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "ops/attention.h"

namespace vpref::cuda::schedule {

constexpr int32_t kSharedKeys = 64;  // fewer keys in common are not worth a tile of their own

// What query `query` of a span with a window sees, neighbouring ranges joined.
inline std::vector<KvRange> seen_keys(const AttentionPlan& plan, const AttentionSpan& span, int32_t query) {
  std::vector<KvRange> keys;
  for (int32_t r = 0; r < span.num_ranges; ++r) append(keys, plan.ranges[size_t(span.first_range + r)]);
  return cut(keys, int32_t(hidden_keys(plan, span, query)), count_keys(keys) - (span.q_count - 1 - query));
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

}  // namespace vpref::cuda::schedule
