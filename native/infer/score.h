// SPDX-License-Identifier: Apache-2.0
// Log-probabilities of given responses: trees packed into one forward without a KV slab. Roots that begin alike
// (several questions about one image) share those rows too.
#pragma once
#include <functional>
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
  };
  Scorer(Context& ctx, const Model& model, Forward& forward, ImageCache& images)
      : ctx_(ctx), model_(model), forward_(forward), images_(images) {}

  // Rows that a request adds at most, before sharing.
  static int64_t num_rows(const ScoreRequest& request);
  // All items in one forward. Throws what the engine throws; then no callback was called.
  std::vector<ScoreResult> score(std::span<const Item> items);

 private:
  Context& ctx_;
  const Model& model_;
  Forward& forward_;
  ImageCache& images_;
};

}  // namespace vpref
