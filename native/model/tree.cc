// SPDX-License-Identifier: Apache-2.0
#include "model/tree.h"

#include <algorithm>

#include "core/error.h"

namespace vpref {

namespace {

// Keys of image rows; bit 63 separates them from token keys.
uint64_t row_key(const TreeImage& image, int32_t row) {
  return uint64_t(1) << 63 | image.key << 24 | uint64_t(uint32_t(row));
}

// Expands a segment to rows, token by token and run by run.
class Expansion {
 public:
  Expansion(const ModelConfig& config, const SegmentInput& input, std::span<const TreeImage> images,
            const std::string& what)
      : config_(config), in_(input), images_(images), what_(what) {
    rows_.positions = Positions(config.text.num_position_axes);
  }

  SegmentRows run(int32_t position) {
    const bool has_images = config_.has_vision && in_.branch < 0;
    rows_.next_position = position;
    for (size_t at = 0; at < in_.token_ids.size();) {
      if (has_images && in_.token_ids[at] == config_.image_token_id) {
        at += add_run(at);
      } else {
        add_token(in_.token_ids[at++]);
      }
    }
    if (image_ < in_.images.size()) fail_run(0);
    return std::move(rows_);
  }

 private:
  void add_token(int32_t id) {
    rows_.token_ids.push_back(id);
    rows_.keys.push_back(uint64_t(id));
    rows_.positions.add(rows_.next_position++);
  }

  const TreeImage& image() const { return images_[size_t(in_.images[image_])]; }
  int32_t run_length() const { return image().layout.runs[run_]; }

  // Adds the next run of the next image. Returns its number of ids.
  size_t add_run(size_t at) {
    if (image_ == in_.images.size()) fail_surplus();
    const ImageLayout& layout = image().layout;
    const int32_t length = run_length();
    int32_t found = 0;
    while (found < length && at + size_t(found) < in_.token_ids.size() &&
           in_.token_ids[at + size_t(found)] == config_.image_token_id)
      ++found;
    if (found < length) fail_run(found);
    if (first_ == 0) begin_ = rows_.next_position;
    rows_.images.push_back({in_.images[image_], first_, rows_.size(), length});
    for (int32_t row = first_; row < first_ + length; ++row) add_image_row(layout, row);
    first_ += length;
    if (++run_ == layout.runs.size()) {
      if (!layout.offsets.empty()) rows_.next_position = begin_ + layout.position_span;
      ++image_;
      run_ = 0;
      first_ = 0;
    }
    return size_t(length);
  }

  void add_image_row(const ImageLayout& layout, int32_t row) {
    rows_.token_ids.push_back(-1);
    rows_.keys.push_back(row_key(image(), row));
    if (layout.offsets.empty()) return rows_.positions.add(rows_.next_position++);
    auto [t, h, w] = layout.offsets[size_t(row)];
    rows_.positions.add({begin_ + t, begin_ + h, begin_ + w});
  }

  [[noreturn]] void fail_run(int32_t found) const {
    const size_t runs = image().layout.runs.size();
    throw Error("request", cat(what_, ": image ", image_, ": expected ", run_length(), " image tokens in a row",
                               runs > 1 ? cat(" (run ", run_ + 1, " of ", runs, ")") : std::string(), ", got ", found));
  }

  [[noreturn]] void fail_surplus() const {
    int64_t expected = 0;
    for (const int32_t i : in_.images) expected += images_[size_t(i)].layout.num_rows();
    throw Error("request",
                cat(what_, ": image tokens: expected ", expected, " for ", in_.images.size(), " images, got ",
                    std::count(in_.token_ids.begin(), in_.token_ids.end(), config_.image_token_id)));
  }

  const ModelConfig& config_;
  const SegmentInput& in_;
  std::span<const TreeImage> images_;
  const std::string& what_;
  SegmentRows rows_;
  size_t image_ = 0, run_ = 0;  // the next run
  int32_t first_ = 0;           // its first row of the image
  int32_t begin_ = 0;           // the counter at the image's first row
};

void check_input(const ModelConfig& config, const SegmentInput& in, std::span<const TreeImage> images,
                 const std::string& what) {
  check(!in.token_ids.empty(), "request", what, ": expected token ids, got none");
  for (const int32_t id : in.token_ids)
    check(id >= 0 && id < config.text.vocab_size, "request", what, ": token id: expected 0..",
          config.text.vocab_size - 1, ", got ", id);
  check(in.branch < 0 || in.images.empty(), "request", what, ": images: expected none in a response, got ",
        in.images.size());
  check(in.images.empty() || config.has_vision, "request", what, ": images: expected none (the model reads text), got ",
        in.images.size());
  for (const int32_t image : in.images) {
    check(image >= 0 && size_t(image) < images.size(), "request", what, ": images: expected an index below ",
          images.size(), ", got ", image);
    const ImageLayout& layout = images[size_t(image)].layout;
    check(!layout.runs.empty(), "internal", what, ": an image without rows");
    // The positions of text between two runs are not defined for such layouts; no family needs them yet.
    check(layout.offsets.empty() || (layout.runs.size() == 1 && config.text.num_position_axes == 3 &&
                                     int32_t(layout.offsets.size()) == layout.num_rows()),
          "internal", what, ": offsets that are not one per row of one run, or without 3 axes");
  }
  check(in.scored.empty() || in.scored.size() == in.token_ids.size(), "request", what, ": scored: expected ",
        in.token_ids.size(), " values, one per token, got ", in.scored.size());
}

}  // namespace

std::vector<ImagePiece> cut(std::span<const ImagePiece> pieces, int32_t first, int32_t count, int32_t at) {
  std::vector<ImagePiece> out;
  for (const ImagePiece& p : pieces) {
    const int32_t begin = std::max(p.row, first), end = std::min(p.row + p.count, first + count);
    if (begin < end) out.push_back({p.image, p.first + begin - p.row, at + begin - first, end - begin});
  }
  return out;
}

SegmentRows expand_segment(const ModelConfig& config, const SegmentInput& input, std::span<const TreeImage> images,
                           int32_t position, const std::string& what) {
  check_input(config, input, images, what);
  SegmentRows rows = Expansion(config, input, images, what).run(position);
  check(rows.next_position <= config.text.max_position_embeddings, "request", what, ": expected at most ",
        config.text.max_position_embeddings, " positions (max_position_embeddings), got ", rows.next_position);
  return rows;
}

int32_t common_prefix(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  return int32_t(std::mismatch(a.begin(), a.begin() + std::ptrdiff_t(std::min(a.size(), b.size())), b.begin()).first -
                 a.begin());
}

TreePacker::TreePacker(const ModelConfig& config, bool shares_prefixes)
    : config_(config), shares_prefixes_(shares_prefixes) {
  batch_.positions = Positions(config.text.num_position_axes);
}

void TreePacker::add(std::span<const SegmentInput> segments, std::span<const TreeImage> images,
                     const std::string& what) {
  check(!segments.empty(), "request", what, "segments: expected at least one, got none");
  const int32_t first = int32_t(batch_.segments.size()), first_branch = batch_.num_branches,
                first_image = batch_.num_images;
  std::vector<bool> is_parent(segments.size());
  for (const SegmentInput& in : segments)
    if (in.parent >= 0 && size_t(in.parent) < segments.size()) is_parent[size_t(in.parent)] = true;
  for (size_t i = 0; i < segments.size(); ++i) {
    const SegmentInput& in = segments[i];
    const std::string name = cat(what, "segments[", i, "]");
    check(in.parent >= -1 && in.parent < int32_t(i), "request", name,
          ": parent: expected an earlier segment or -1, got ", in.parent);
    Segment s{in.parent >= 0 ? first + in.parent : -1, batch_.num_rows(), 0, {}, {}};
    SegmentRows rows = expand_segment(config_, in, images, s.parent >= 0 ? next_position_[size_t(s.parent)] : 0, name);
    if (s.parent >= 0) {
      const Segment& parent = batch_.segments[size_t(s.parent)];
      s.ranges = parent.ranges;
      s.path = {s.parent, parent.path.num_keys, parent.path.num_keys};
    } else if (in.branch < 0 && shares_prefixes_) {
      share(rows.keys, s);
    }
    const int32_t shared = s.parent < 0 ? s.path.shared : 0;
    // The last row of a response predicts nothing, so scoring drops it. Training keeps it, because its sums over rows
    // include it.
    const bool is_unread = shares_prefixes_ && in.branch >= 0 && !is_parent[i];
    s.row_count = rows.size() - shared - (is_unread ? 1 : 0);
    s.path.num_keys += s.row_count;
    if (s.row_count > 0) s.ranges.push_back({s.row_begin, s.row_count});
    for (ImagePiece p : cut(rows.images, shared, s.row_count, s.row_begin)) {
      p.image += first_image;
      batch_.images.push_back(p);
    }
    const auto own = rows.token_ids.begin() + shared;
    batch_.token_ids.insert(batch_.token_ids.end(), own, own + s.row_count);
    batch_.positions.add(rows.positions, shared, s.row_count);
    batch_.segments.push_back(std::move(s));
    next_position_.push_back(rows.next_position);
    root_keys_.push_back(in.parent < 0 && in.branch < 0 && shares_prefixes_ ? std::move(rows.keys)
                                                                            : std::vector<uint64_t>());
    if (in.branch < 0) continue;
    batch_.num_branches = std::max(batch_.num_branches, first_branch + in.branch + 1);
    add_targets(in, first_branch, name);
  }
  batch_.num_images += int32_t(images.size());
}

// Shares with a root the longest prefix that it has in common with an earlier root.
void TreePacker::share(const std::vector<uint64_t>& keys, Segment& root) const {
  int32_t shared = 0;
  size_t donor = 0;
  for (size_t i = 0; i < root_keys_.size(); ++i) {
    const int32_t common = common_prefix(keys, root_keys_[i]);
    if (common <= shared) continue;
    shared = common;
    donor = i;
  }
  if (shared == 0) return;
  root.ranges = cut(batch_.segments[donor].ranges, 0, shared);
  root.path = {int32_t(donor), shared, shared};
}

// Adds the targets of the segment packed last.
void TreePacker::add_targets(const SegmentInput& in, int32_t first_branch, const std::string& what) {
  const Segment& s = batch_.segments.back();
  for (int32_t k = 0; k < int32_t(in.token_ids.size()); ++k) {
    if (!in.scored.empty() && !in.scored[size_t(k)]) continue;
    check(k > 0 || s.parent >= 0, "request", what, ": expected a parent, since its first token is scored");
    batch_.target_rows.push_back(k > 0 ? s.row_begin + k - 1 : batch_.segments[size_t(s.parent)].last_row());
    batch_.targets.push_back(in.token_ids[size_t(k)]);
    batch_.target_branch.push_back(first_branch + in.branch);
  }
}

std::vector<KeyPath> key_paths(const TreeBatch& batch) {
  std::vector<KeyPath> paths;
  for (const Segment& s : batch.segments) paths.push_back(s.path);
  return paths;
}

AttentionPlan tree_attention_plan(const TreeBatch& batch) {
  AttentionPlan plan;
  plan.paths = key_paths(batch);
  for (size_t i = 0; i < batch.segments.size(); ++i) {
    const Segment& s = batch.segments[i];
    if (s.row_count == 0) continue;  // all its rows are in an earlier root
    plan.spans.push_back({s.row_begin, s.row_count, int32_t(plan.ranges.size()), int32_t(s.ranges.size()),
                          /*causal=*/true, int32_t(i)});
    plan.ranges.insert(plan.ranges.end(), s.ranges.begin(), s.ranges.end());
  }
  return plan;
}

}  // namespace vpref
