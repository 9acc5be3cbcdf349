// SPDX-License-Identifier: Apache-2.0
#include "infer/score.h"

#include <algorithm>

#include "core/error.h"

namespace vpref {

namespace {

std::vector<SegmentInput> segments_of(const ScoreRequest& request) {
  std::vector<SegmentInput> out;
  int32_t num_scored = 0;
  for (const ScoreSegment& s : request.segments)
    out.push_back({s.parent, s.token_ids, s.images, s.scored ? num_scored++ : -1, {}});
  return out;
}

}  // namespace

void check_score_request(const ModelConfig& config, const ScoreRequest& request) {
  std::vector<TreeImage> images;
  for (const Image& image : request.images) images.push_back({layout_of(config, image)});
  TreePacker(config, /*shares_prefixes=*/false).add(segments_of(request), images, "");
}

int64_t Scorer::rows_beside(std::span<const ScoreItem> others, const ScoreItem& item, int32_t image_token_id) {
  int64_t rows = 0, shared = 0;
  for (const ScoreSegment& s : item.request.segments) rows += int64_t(s.token_ids.size()) - (s.scored ? 1 : 0);
  const std::vector<int32_t>& ids = item.request.segments.front().token_ids;
  const auto first_image = std::find(ids.begin(), ids.end(), image_token_id);
  for (const ScoreItem& other : others) {
    const std::vector<int32_t>& known = other.request.segments.front().token_ids;
    const auto end = other.images_key == item.images_key ? ids.end() : first_image;
    const auto most = ids.begin() + std::min(end - ids.begin(), std::ptrdiff_t(known.size()));
    shared = std::max<int64_t>(shared, std::mismatch(ids.begin(), most, known.begin()).first - ids.begin());
  }
  return rows - shared;
}

uint64_t Scorer::images_key(const ScoreRequest& request) {
  uint64_t key = 0;
  for (const Image& image : request.images) key = key * 0x9E3779B97F4A7C15u + content_hash(image);
  return key;
}

std::vector<ScoreResult> Scorer::score(std::span<const ScoreItem> items) {
  TreePacker packer(model_.config, /*shares_prefixes=*/true);
  std::vector<std::shared_ptr<ImageRows>> entries, used;
  for (const ScoreItem& item : items) {
    std::vector<TreeImage> images;
    for (const Image& image : item.request.images) {
      entries.push_back(images_.find(image));
      images.push_back({layout_of(model_.config, image), entries.back()->uid});
    }
    packer.add(segments_of(item.request), images, "");
  }
  const TreeBatch tree = packer.take();

  StepRows step(tree);
  for (const ImagePiece& piece : tree.images) {
    used.push_back(entries[size_t(piece.image)]);
    step.images.push_back({piece, used.back().get()});
  }
  images_.encode(ctx_, used);
  std::vector<float> logps;
  if (!tree.targets.empty()) {
    const Tensor residual = forward_.run(step, nullptr, {.scored = int64_t(tree.targets.size())});
    std::vector<int32_t> predictors;  // among the wanted rows
    for (const int32_t row : tree.target_rows)
      predictors.push_back(
          int32_t(std::distance(step.wanted.begin(), std::lower_bound(step.wanted.begin(), step.wanted.end(), row))));
    forward_.score(residual, predictors, tree.targets, logps);
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
