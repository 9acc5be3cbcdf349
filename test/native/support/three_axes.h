// SPDX-License-Identifier: Apache-2.0
// A small model with three axes of positions, whose images span fewer positions than they have rows.
#pragma once
#include "infer/generate.h"
#include "infer/score.h"
#include "support/golden.h"
#include "support/with_layout.h"

namespace vpref::golden {

// tiny-gqa: 9 rows per image, 8 frequencies.
struct ThreeAxes {
  Context ctx;
  Model model;
  ImageLayout* image_layout;
  Cases cases{"tiny-gqa"};
  int64_t rows_shared = 0;  // of the last generate()

  explicit ThreeAxes(Device device = Device::cpu)
      : ctx(device, 1), model(fixture("tiny-gqa"), device, DType::f32, kClipNormalisation) {
    TextConfig& text = model.config.text;
    text.num_position_axes = 3;
    for (size_t i = 0; i < text.inv_freq.size(); ++i) text.rope_axis.push_back(int32_t(i % 3));
    image_layout = &WithLayout::put(model, {.runs = {9}, .offsets = {}, .position_span = 3}).fixed;
    for (int32_t i = 0; i < 9; ++i) image_layout->offsets.push_back({0, i / 3, i % 3});
    model.prepare(ctx);
  }

  // The prompt of a case; a response ends only at a rare id.
  GenerateRequest request(int64_t i, int32_t max_new_tokens) const {
    GenerateRequest r = cases.generate_request(i, max_new_tokens);
    r.eos_token_ids = {831};
    return r;
  }

  std::vector<GenerateResult> generate(const std::vector<GenerateRequest>& requests, int64_t batch_tokens) {
    Forward forward(ctx, model, batch_tokens);
    ImageCache images(model, 1 << 20);
    const std::vector<std::string> token_bytes;
    Generator generator(ctx, model, forward, images, {batch_tokens, 4096, 64, &token_bytes});
    std::vector<GenerateResult> results(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      GenerateRequest request = requests[i];
      GenerateDone done = [&results, i](Outcome<GenerateResult> o) { results[i] = value(std::move(o)); };
      EXPECT_TRUE(generator.admit(i + 1, request, done));
    }
    while (!generator.idle()) generator.step();
    rows_shared = generator.rows_shared();
    return results;
  }

  ScoreResult score(const GenerateRequest& request, const GenerateResult& result) {
    ScoreRequest r{.segments = {{-1, request.prompt, {}, false}}, .images = request.images};
    for (size_t i = 0; i < request.images.size(); ++i) r.segments[0].images.push_back(int32_t(i));
    for (const GeneratedBranch& b : result.branches) r.segments.push_back({0, b.token_ids, {}, true});
    check_score_request(model.config, r);
    Forward forward(ctx, model, 256);
    ImageCache images(model, 1 << 20);
    const ScoreItem items[] = {{1, std::move(r), {}}};
    return Scorer(ctx, model, forward, images).score(items).front();
  }
};

// Prompts of the golden cases with an image, three samples each.
inline std::vector<GenerateRequest> sampled(const ThreeAxes& m) {
  std::vector<GenerateRequest> out;
  for (int64_t i = 0; i < m.cases.size() && out.size() < 4; ++i) {
    if (m.cases.images(i).empty()) continue;
    GenerateRequest r = m.request(i, 10);
    r.num_samples = 3;
    r.sampling.temperature = 1;
    out.push_back(std::move(r));
  }
  // A second question about the first image, which shares leading rows.
  GenerateRequest again = out.front();
  again.prompt.back() = again.prompt.back() == 5 ? 6 : 5;
  out.push_back(std::move(again));
  return out;
}

}  // namespace vpref::golden
