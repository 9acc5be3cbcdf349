// SPDX-License-Identifier: Apache-2.0
// Log-probabilities of given responses: trees packed into one forward without a KV cache. Prompts with the same
// beginning, such as several questions about one image, share those rows too.
#pragma once
#include <span>
#include <vector>

#include "infer/forward.h"
#include "infer/request.h"

namespace vpref {

// Throws Error{"request"} if the tree, its ids or its images are not as described at ScoreRequest.
void check_score_request(const ModelConfig& config, const ScoreRequest& request);

class Scorer {
 public:
  Scorer(Context& ctx, const Model& model, Forward& forward, ImageCache& images)
      : ctx_(ctx), model_(model), forward_(forward), images_(images) {}

  // Rows that an item adds to a forward with these others. A common beginning of prompts counts once: equal ids, up to
  // the first image if the images differ.
  static int64_t rows_beside(std::span<const ScoreItem> others, const ScoreItem& item, int32_t image_token_id);
  // Key of a request's images, in their order.
  static uint64_t images_key(const ScoreRequest& request);
  // Scores all items in one forward. If it throws, no callback was called.
  std::vector<ScoreResult> score(std::span<const ScoreItem> items);

 private:
  Context& ctx_;
  const Model& model_;
  Forward& forward_;
  ImageCache& images_;
};

}  // namespace vpref
