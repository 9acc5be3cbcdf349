// SPDX-License-Identifier: Apache-2.0
#include "infer/score.h"

#include <algorithm>
#include <set>

#include "core/error.h"

namespace vpref {

namespace {

// A segment in the packed batch.
struct Node {
  PromptRows rows;
  int32_t parent = -1;
  int32_t shared = 0;           // leading rows that an earlier root has
  int32_t position = 0;         // of its first row
  int32_t first = 0;            // packed row of its first own row
  std::vector<KvRange> ranges;  // everything it sees, its own rows last
  std::vector<int32_t> wanted;  // own rows (from 0) that predict something
  int32_t own() const { return int32_t(rows.ids.size()) - shared; }
  int32_t length() const { return position + int32_t(rows.ids.size()); }  // rows on the path to its end
  int32_t last_row() const { return ranges.back().begin + ranges.back().count - 1; }
};

void push_range(std::vector<KvRange>& ranges, KvRange r) {
  if (r.count == 0) return;
  if (!ranges.empty() && ranges.back().begin + ranges.back().count == r.begin) {
    ranges.back().count += r.count;
  } else {
    ranges.push_back(r);
  }
}

// Where packed row r belongs.
Node& owner(std::vector<Node>& nodes, int32_t row) {
  for (Node& n : nodes) {
    if (row >= n.first && row < n.first + n.own()) return n;
  }
  throw Error("internal", cat("packed row ", row, " belongs to no segment"));
}

void place(std::vector<Node>& nodes, size_t index, int32_t& next_row) {
  Node& n = nodes[index];
  if (n.parent >= 0) {
    n.ranges = nodes[size_t(n.parent)].ranges;
    n.position = nodes[size_t(n.parent)].length();
  } else {
    const Node* donor = nullptr;
    for (size_t i = 0; i < index; ++i) {
      if (nodes[i].parent >= 0) continue;
      const int32_t common = common_prefix(n.rows.keys, nodes[i].rows.keys);
      if (common > n.shared) {
        n.shared = common;
        donor = &nodes[i];
      }
    }
    int32_t left = n.shared;
    for (size_t i = 0; left > 0; ++i) {
      const KvRange r{donor->ranges[i].begin, std::min(donor->ranges[i].count, left)};
      push_range(n.ranges, r);
      left -= r.count;
    }
  }
  n.first = next_row;
  push_range(n.ranges, {n.first, n.own()});
  next_row += n.own();
}

}  // namespace

void check_score_request(const ModelConfig& config, const ScoreRequest& request, std::span<const ImageLayout> layouts) {
  check(!request.segments.empty(), "request", "segments: expected at least one, got none");
  std::vector<int64_t> length(request.segments.size());
  for (size_t i = 0; i < request.segments.size(); ++i) {
    const ScoreSegment& s = request.segments[i];
    const std::string what = cat("segments[", i, "]");
    check(s.parent >= -1 && s.parent < int32_t(i), "request", what, ": parent: expected an earlier segment or -1, got ",
          s.parent);
    check(!s.scored || s.parent >= 0, "request", what, ": expected a parent, since its first token is scored");
    std::vector<ImageLayout> own;
    for (const int32_t image : s.images) {
      check(image >= 0 && size_t(image) < layouts.size(), "request", what, ": images: expected an index below ",
            layouts.size(), ", got ", image);
      own.push_back(layouts[size_t(image)]);
    }
    check(!s.scored || own.empty(), "request", what, ": images: expected none in a response, got ", own.size());
    if (s.scored)
      check_response(config, s.token_ids, what.c_str());
    else
      check_prompt(config, s.token_ids, own, what.c_str());
    length[i] = int64_t(s.token_ids.size()) + (s.parent >= 0 ? length[size_t(s.parent)] : 0);
    check(length[i] <= config.text.max_position_embeddings, "request", what, ": expected at most ",
          config.text.max_position_embeddings, " positions (max_position_embeddings), got ", length[i]);
  }
}

int64_t Scorer::num_rows(const ScoreRequest& request) {
  int64_t rows = 0;
  for (const ScoreSegment& s : request.segments) rows += int64_t(s.token_ids.size());
  return rows;
}

std::vector<ScoreResult> Scorer::score(std::span<const Item> items) {
  // Segments of all items, placed row after row.
  std::vector<Node> nodes;
  std::vector<size_t> first_node;
  int32_t num_rows = 0;
  std::vector<std::shared_ptr<ImageRows>> used;
  for (const Item& item : items) {
    first_node.push_back(nodes.size());
    std::vector<std::shared_ptr<ImageRows>> images;
    for (const Image& image : item.request.images) images.push_back(images_.find(image));
    for (const ScoreSegment& s : item.request.segments) {
      std::vector<std::shared_ptr<ImageRows>> own;
      for (const int32_t i : s.images) own.push_back(images[size_t(i)]);
      used.insert(used.end(), own.begin(), own.end());
      Node n;
      n.rows =
          s.scored ? make_response_rows(s.token_ids) : make_prompt_rows(model_.config, s.token_ids, own, "segment");
      n.parent = s.parent >= 0 ? s.parent + int32_t(first_node.back()) : -1;
      nodes.push_back(std::move(n));
      place(nodes, nodes.size() - 1, num_rows);
    }
  }

  // Which rows predict which targets.
  std::vector<int32_t> predictors, targets;
  std::set<int32_t> wanted;
  for (size_t k = 0; k < items.size(); ++k) {
    for (size_t i = 0; i < items[k].request.segments.size(); ++i) {
      if (!items[k].request.segments[i].scored) continue;
      const Node& n = nodes[first_node[k] + i];
      for (size_t t = 0; t < n.rows.ids.size(); ++t) {
        predictors.push_back(t == 0 ? nodes[size_t(n.parent)].last_row() : n.first + int32_t(t) - 1);
        targets.push_back(n.rows.ids[t]);
      }
    }
  }
  wanted.insert(predictors.begin(), predictors.end());
  for (const int32_t row : wanted) {
    Node& n = owner(nodes, row);
    n.wanted.push_back(row - n.first);
  }

  images_.encode(ctx_, used);
  StepRows step;
  for (const Node& n : nodes) {
    if (n.own() == 0) continue;
    add_image_pieces(n.rows, n.shared, n.own(), n.first, step.images);
    step.add_segment(std::span(n.rows.ids).subspan(size_t(n.shared)), n.position + n.shared, n.ranges, n.wanted);
  }
  std::vector<float> logps;
  if (!targets.empty()) {
    const Tensor residual = forward_.run(step, nullptr);
    for (int32_t& p : predictors)
      p = int32_t(std::distance(step.wanted.begin(), std::lower_bound(step.wanted.begin(), step.wanted.end(), p)));
    forward_.score(residual, predictors, targets, logps);
  }

  std::vector<ScoreResult> results(items.size());
  size_t at = 0;
  for (size_t k = 0; k < items.size(); ++k) {
    for (size_t i = 0; i < items[k].request.segments.size(); ++i) {
      const ScoreSegment& s = items[k].request.segments[i];
      if (!s.scored) continue;
      ScoredSegment out;
      out.segment = int32_t(i);
      for (size_t t = 0; t < s.token_ids.size(); ++t, ++at) {
        check(logps[at] == logps[at], "nonfinite", "the model's logits are not finite");
        out.per_token_logps.push_back(logps[at]);
        out.logps += double(logps[at]);
      }
      results[k].segments.push_back(std::move(out));
    }
  }
  return results;
}

}  // namespace vpref
