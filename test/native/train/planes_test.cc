// SPDX-License-Identifier: Apache-2.0
// Images with planes that the decoder adds after its first layers: sampling (chunked prefill, shared prefixes), scoring
// and training must add the same rows, and a trained merger gets their gradient.
// Covers families/qwen3_vl/vision.cc
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "infer/generate.h"
#include "infer/score.h"
#include "support/families.h"

namespace vpref {
namespace {

constexpr float kRounding = 2e-4f;  // another order of sums
constexpr Normalisation kHalf = {1.0 / 255.0, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};

struct Planes {
  golden::Checkpoint checkpoint{"qwen3_vl"};
  Context ctx{Device::cpu, 1};
  Model model{checkpoint.file("ckpt"), Device::cpu, DType::f32, kHalf};
  int64_t rows_shared = 0;  // of the last generate()

  // A question about the image of a golden row, three samples.
  GenerateRequest request(const std::string& id) const {
    const auto row =
        std::find_if(checkpoint.rows.begin(), checkpoint.rows.end(), [&](const golden::Row& r) { return r.id == id; });
    const Safetensors file(checkpoint.file("golden.safetensors"));
    const Tensor pixels = file.view("pixels_u8/" + id);
    const uint8_t* p = static_cast<const uint8_t*>(pixels.data);
    const int32_t height = int32_t(pixels.dim(0)), width = int32_t(pixels.dim(1));
    GenerateRequest r;
    r.prompt = row->prompt;
    r.images = {{height, width, {{height, width, {p, p + pixels.bytes()}}}, {}}};
    r.num_samples = 3;
    r.sampling.temperature = 1;
    r.max_new_tokens = 8;
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
      GenerateDone done = [&results, i](Outcome<GenerateResult> o) { results[i] = golden::value(std::move(o)); };
      EXPECT_TRUE(generator.admit(i + 1, request, done));
    }
    while (!generator.idle()) generator.step();
    rows_shared = generator.rows_shared();
    return results;
  }

  ScoreResult score(const GenerateRequest& request, const GenerateResult& result) {
    ScoreRequest r{.segments = {{-1, request.prompt, {0}, false}}, .images = request.images};
    for (const GeneratedBranch& b : result.branches) r.segments.push_back({0, b.token_ids, {}, true});
    Forward forward(ctx, model, 256);
    ImageCache images(model, 1 << 20);
    const ScoreItem items[] = {{1, std::move(r), {}}};
    return Scorer(ctx, model, forward, images).score(items).front();
  }
};

SessionRow train_row(const GenerateRequest& request, const GenerateResult& result) {
  SessionRow s;
  s.row.id = "row";
  s.row.num_rejected = int32_t(result.branches.size()) - 1;
  s.row.segments.push_back({.parent = -1, .token_ids = request.prompt, .images = {0}});
  for (size_t i = 0; i < result.branches.size(); ++i)
    s.row.segments.push_back({.parent = 0, .token_ids = result.branches[i].token_ids, .branch = int32_t(i)});
  s.images = request.images;
  return s;
}

TEST(Planes, ChunkedSamplingScoringAndTrainingAgree) {
  Planes m;
  m.model.prepare(m.ctx);
  ASSERT_EQ(m.model.vision().num_planes(), 2);
  std::vector<GenerateRequest> requests = {m.request("v1-wide"), m.request("v2-tall"), m.request("v3-tiny")};
  // A second question about the first image shares all rows except the last.
  requests.push_back(requests[0]);
  requests.back().prompt.back() = requests[0].prompt.back() == 40 ? 41 : 40;
  const std::vector<GenerateResult> whole = m.generate(requests, 1024);
  EXPECT_GT(m.rows_shared, m.model.vision().layout(image_shape(requests[0].images[0])).num_rows());
  std::vector<SessionRow> rows;
  std::vector<double> sums;
  for (size_t i = 0; i < requests.size(); ++i) {
    const ScoreResult scored = m.score(requests[i], whole[i]);
    for (size_t b = 0; b < 3; ++b) {
      golden::expect_close(whole[i].branches[b].per_token_logps, scored.segments[b].per_token_logps, kRounding,
                           cat("sample ", b, " of prompt ", i));
      sums.push_back(scored.segments[b].logps);
    }
    rows.push_back(train_row(requests[i], whole[i]));
  }
  // Chunks end inside an image.
  for (const int64_t batch_tokens : {5, 9}) {
    const std::vector<GenerateResult> pieces = m.generate(requests, batch_tokens);
    for (size_t i = 0; i < requests.size(); ++i) {
      for (size_t b = 0; b < 3; ++b) {
        EXPECT_EQ(pieces[i].branches[b].token_ids, whole[i].branches[b].token_ids);
        golden::expect_close(pieces[i].branches[b].per_token_logps, whole[i].branches[b].per_token_logps, kRounding,
                             cat("pieces of ", batch_tokens));
      }
    }
  }
  TrainerOptions options;
  options.loss = parse_losses("sft");
  options.trainable.lora_r = 2;
  TrainSession session(m.ctx, m.model, options, "");
  const std::vector<RowResult> trained = session.score(rows, /*adapter_on=*/true);
  for (size_t i = 0; i < sums.size(); ++i) EXPECT_NEAR(trained[i / 3].policy[i % 3], sums[i], 10 * kRounding);
}

// The gradient of a merger's parts, through the decoder, against finite differences of the loss.
TEST(Planes, TrainedMergerGradientsEqualFiniteDifferences) {
  TrainerOptions options;
  options.loss = parse_losses("sft");
  options.trainable.projector = true;
  const std::string file = cat(testing::TempDir(), "/planes-", getpid(), ".safetensors");
  for (const int level : {0, 3}) {
    options.recompute = level;
    Planes m;
    m.model.prepare(m.ctx);
    const GenerateRequest request = m.request("v1-wide");
    const std::vector<SessionRow> rows = {train_row(request, m.generate({request}, 1024).front())};
    TrainSession session(m.ctx, m.model, options, "");
    session.save_gradients(rows, file);
    const Safetensors grads(file);
    for (const ConnectorPart& part : m.model.weights.vision->connector()) {
      const Tensor grad = grads.view(part.name);
      const float* g = grad.as<float>();
      const int64_t at =
          std::max_element(g, g + grad.numel(), [](float a, float b) { return std::abs(a) < std::abs(b); }) - g;
      float& x = part.value->as<float>()[at];
      const float before = x, h = 1e-2f;
      const auto loss = [&](float value) {
        x = value;
        return session.save_gradients(rows, file + ".other").loss;
      };
      const double difference = (loss(before + h) - loss(before - h)) / (2 * double(h));
      x = before;
      EXPECT_GT(std::abs(difference), 1e-4) << part.name;
      EXPECT_NEAR(double(g[at]), difference, 0.02 * std::abs(difference) + 2e-4) << part.name << " [" << at << "]";
    }
  }
  std::filesystem::remove(file);
  std::filesystem::remove(file + ".other");
}

}  // namespace
}  // namespace vpref
