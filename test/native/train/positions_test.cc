// SPDX-License-Identifier: Apache-2.0
// A model with three axes of positions, whose images span fewer positions than they have rows: sampling (prefill in
// pieces, shared prefixes, decoding, beams), scoring and training must stand every row at the same place.
// Covers native/model/model.cc
#include "model/positions.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/three_axes.h"
#include "train/session.h"

namespace vpref {
namespace {

using golden::sampled;
using golden::ThreeAxes;

constexpr float kRounding = 2e-4f;  // another order of sums

SessionRow train_row(const GenerateRequest& request, const GenerateResult& result) {
  SessionRow s;
  s.row.id = "row";
  s.row.num_rejected = int32_t(result.branches.size()) - 1;
  s.row.segments.push_back({.parent = -1, .token_ids = request.prompt});
  for (size_t i = 0; i < request.images.size(); ++i) s.row.segments[0].images.push_back(int32_t(i));
  for (size_t i = 0; i < result.branches.size(); ++i)
    s.row.segments.push_back({.parent = 0, .token_ids = result.branches[i].token_ids, .branch = int32_t(i)});
  s.images = request.images;
  return s;
}

TEST(Positions, SamplingScoringAndTrainingAgree) {
  ThreeAxes m;
  const std::vector<GenerateRequest> requests = sampled(m);
  ASSERT_EQ(requests.size(), 5u);
  const std::vector<GenerateResult> whole = m.generate(requests, 1024), pieces = m.generate(requests, 7);
  EXPECT_GT(m.rows_shared, 0);
  std::vector<SessionRow> rows;
  std::vector<double> sums;
  for (size_t i = 0; i < requests.size(); ++i) {
    const ScoreResult scored = m.score(requests[i], whole[i]);
    for (size_t b = 0; b < 3; ++b) {
      const GeneratedBranch& branch = whole[i].branches[b];
      EXPECT_EQ(branch.token_ids, pieces[i].branches[b].token_ids);
      golden::expect_close(branch.per_token_logps, scored.segments[b].per_token_logps, kRounding,
                           cat("sample ", b, " of prompt ", i));
      sums.push_back(scored.segments[b].logps);
    }
    rows.push_back(train_row(requests[i], whole[i]));
  }
  TrainerOptions options;
  options.loss = parse_losses("sft");
  options.trainable.lora_r = 2;
  options.micro_batch_tokens = 64;
  TrainSession session(m.ctx, m.model, options, "");
  const std::vector<RowResult> trained = session.score(rows, /*adapter_on=*/true);
  for (size_t i = 0; i < sums.size(); ++i) EXPECT_NEAR(trained[i / 3].policy[i % 3], sums[i], 10 * kRounding);
  for (const RowResult& r : session.step(rows).rows)
    for (const double sum : r.policy) EXPECT_TRUE(std::isfinite(sum));
}

TEST(Positions, BeamsAgreeWithScoring) {
  ThreeAxes m;
  GenerateRequest request = sampled(m).front();
  request.num_samples = 1;
  request.sampling.temperature = 0;
  request.num_beams = 3;
  const GenerateResult result = m.generate({request}, 1024).front();
  golden::expect_close(result.branches[0].per_token_logps, m.score(request, result).segments[0].per_token_logps,
                       kRounding, "the best beam");
}

// The test above would pass on any positions that agree: these are others than plain ones, and it shows.
TEST(Positions, AnImagesOffsetsAndSpanChangeTheNumbers) {
  ThreeAxes m;
  const GenerateRequest request = sampled(m).front();
  const GenerateResult result = m.generate({request}, 1024).front();
  const float with = m.score(request, result).segments[0].per_token_logps.front();
  const std::vector<std::array<int32_t, 3>> offsets = m.image_layout->offsets;
  m.image_layout->position_span = 9;
  EXPECT_GT(std::abs(m.score(request, result).segments[0].per_token_logps.front() - with), 1e-3f) << "span";
  m.image_layout->position_span = 3;
  for (auto& [t, h, w] : m.image_layout->offsets) std::swap(h, w);
  EXPECT_GT(std::abs(m.score(request, result).segments[0].per_token_logps.front() - with), 1e-3f) << "h and w";
}

// Without offsets all three axes count on like text: the numbers of one axis.
TEST(Positions, PlainPositionsOnThreeAxesAreThoseOfOne) {
  ThreeAxes three, one;
  *three.image_layout = {.runs = {9}, .offsets = {}, .position_span = 9};
  *one.image_layout = *three.image_layout;
  one.model.config.text.num_position_axes = 1;
  one.model.config.text.rope_axis.clear();
  const std::vector<GenerateRequest> requests = sampled(three);
  const std::vector<GenerateResult> a = three.generate(requests, 1024), b = one.generate(requests, 1024);
  for (size_t i = 0; i < requests.size(); ++i)
    for (size_t k = 0; k < 3; ++k) EXPECT_EQ(a[i].branches[k].per_token_logps, b[i].branches[k].per_token_logps);
}

// max_position_embeddings limits positions: a response goes on where rows alone would have ended it.
TEST(Positions, TheLimitIsOfPositions) {
  ThreeAxes m;
  GenerateRequest request = sampled(m).front();
  request.num_samples = 1;
  request.max_new_tokens = 100;
  const int32_t rows = int32_t(request.prompt.size()), saved = 6 * int32_t(request.images.size());
  m.model.config.text.max_position_embeddings = rows + 4;
  const GenerateResult result = m.generate({request}, 1024).front();
  EXPECT_EQ(int32_t(result.branches[0].token_ids.size()), 4 + saved);
  EXPECT_EQ(result.num_prompt_tokens, rows);
}

}  // namespace
}  // namespace vpref
