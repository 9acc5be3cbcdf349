// SPDX-License-Identifier: Apache-2.0
// Log-probabilities of given responses: trees packed into one forward without a KV cache. Roots that begin alike
// (several questions about one image) share those rows too.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "infer/engine.h"
#include "infer/forward.h"

namespace vpref {

using ScoreDone = std::function<void(Outcome<ScoreResult>)>;

// Throws Error{"request"} when the tree, its ids or its images are not as ScoreRequest says.
void check_score_request(const ModelConfig& config, const ScoreRequest& request);

class Scorer {
 public:
  struct Item {
    uint64_t id;
    ScoreRequest request;
    ScoreDone done;
    uint64_t images_key = 0;  // equal where the images are; 0: not known
  };
  Scorer(Context& ctx, const Model& model, Forward& forward, ImageCache& images)
      : ctx_(ctx), model_(model), forward_(forward), images_(images) {}

  // Rows that an item adds to a forward with these others, which count what prompts begin with alike once: equal ids,
  // up to the first image where the images are others.
  static int64_t rows_beside(std::span<const Item> others, const Item& item, int32_t image_token_id);
  // Of a request's images, in their order.
  static uint64_t images_key(const ScoreRequest& request);
  // All items in one forward. Throws what the engine throws; then no callback was called.
  std::vector<ScoreResult> score(std::span<const Item> items);

 private:
  Context& ctx_;
  const Model& model_;
  Forward& forward_;
  ImageCache& images_;
};

}  // namespace vpref
