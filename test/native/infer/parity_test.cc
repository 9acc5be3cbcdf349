// SPDX-License-Identifier: Apache-2.0
// The engine against transformers and peft on four tiny random checkpoints (scripts/goldens/models.py).
// Covers native/infer/prefill.cc native/infer/decode.cc native/model/decoder_layer.cc
// Covers native/model/layer_activations.cc
// Covers native/model/adapter.cc native/model/vit.cc native/model/family_tensors.cc families/index.cc
// Covers families/llama/llama.cc families/llava/llava.cc families/llava/vision.cc
#include <gtest/gtest.h>

#include "infer/forward.h"
#include "infer/generate.h"
#include "model/image_encoder.h"
#include "support/golden.h"

namespace vpref {
namespace {

using golden::Cases;
using golden::expect_close;

// Measured error of transformers' own f32 against f64 is up to 1.7e-4; another summation order has as much.
constexpr float kTolerance = 1e-3f;
// Greedy ids must agree where the two best logits are further apart than this.
constexpr float kMargin = 1e-3f;

class Parity : public testing::TestWithParam<const char*> {
 protected:
  std::string name() const { return GetParam(); }
};

TEST_P(Parity, VisionFeaturesAndProjector) {
  const Cases cases(name());
  if (!cases.has("images")) return;
  Context ctx(Device::cpu, 1);
  Model model(golden::fixture(name()), Device::cpu, DType::f32, kClipNormalisation);
  model.prepare(ctx);
  ImageEncoder encoder(model);
  const Tensor expected = cases["vision_features"], rows = cases["image_rows"];
  std::vector<Image> images;
  std::vector<const Image*> pointers;
  for (int64_t i = 0; i < expected.dim(0); ++i) images.push_back(golden::image(cases["images"], i));
  for (const Image& image : images) pointers.push_back(&image);
  std::vector<float> features(size_t(expected.numel())), projected(size_t(rows.numel()));
  encoder.features(ctx, pointers,
                   Tensor(features.data(), DType::f32, {expected.dim(0) * expected.dim(1), expected.dim(2)}));
  encoder.rows(ctx, pointers, Tensor(projected.data(), DType::f32, {rows.dim(0) * rows.dim(1), rows.dim(2)}));
  expect_close(features, {expected.as<float>(), features.size()}, kTolerance, "vision features");
  expect_close(projected, {rows.as<float>(), projected.size()}, kTolerance, "projected rows");
}

TEST_P(Parity, LogitsOfTheLastPromptRow) {
  const Cases cases(name());
  Context ctx(Device::cpu, 1);
  Model model(golden::fixture(name()), Device::cpu, DType::f32, kClipNormalisation);
  model.prepare(ctx);
  Forward forward(ctx, model, 64);
  ImageCache cache(model, 1 << 20);
  for (int64_t i = 0; i < cases.size(); ++i) {
    const GenerateRequest request = cases.generate_request(i, 1);
    std::vector<std::shared_ptr<ImageRows>> images;
    for (const Image& image : request.images) images.push_back(cache.find(image));
    cache.encode(ctx, images);
    const SegmentRows rows = prompt_rows(model.config, request, images);
    const int32_t last[] = {rows.size() - 1};
    const KvRange range[] = {{0, rows.size()}};
    StepRows step;
    step.positions = rows.positions;
    step.add_segment(rows.token_ids, range, last, -1);
    for (const ImagePiece& piece : rows.images) step.images.push_back({piece, images[size_t(piece.image)].get()});
    std::vector<float> logits;
    forward.logits(forward.run(step, nullptr, {.read = 1}), 0, 1, logits);
    expect_close(logits, golden::floats(cases["logits"], i, logits.size()), kTolerance,
                 cat(name(), " logits of prompt ", i));
  }
}

TEST_P(Parity, TokenLogps) {
  const Cases cases(name());
  Engine engine(golden::options(name()));
  for (int64_t i = 0; i < cases.size(); ++i) {
    const ScoreResult r = golden::score(engine, {cases.score_request(i)}).front();
    const std::vector<float> expected = cases.logps(i);
    expect_close(r.segments.at(0).per_token_logps, expected, kTolerance, cat(name(), " logps of response ", i));
    double sum = 0;
    for (const float v : expected) sum += v;
    EXPECT_NEAR(r.segments[0].logps, sum, 2e-3);
  }
}

TEST_P(Parity, GreedyIds) {
  const Cases cases(name());
  Engine engine(golden::options(name()));
  const Tensor margins = cases["greedy_margins"];
  int64_t compared = 0;
  for (int64_t i = 0; i < cases.size(); ++i) {
    const GenerateResult r = golden::generate(engine, {cases.generate_request(i, 16)}).front();
    const std::vector<int32_t> expected = golden::ids(cases["greedy_ids"], i), &got = r.branches.at(0).token_ids;
    ASSERT_EQ(r.num_prompt_tokens, int32_t(cases.prompt(i).size()));
    for (size_t t = 0; t < expected.size(); ++t) {
      if (golden::floats(margins, i, t + 1)[t] < kMargin) break;  // a near tie may go either way, and all after it
      ASSERT_LT(t, got.size());
      ASSERT_EQ(got[t], expected[t]) << name() << " prompt " << i << " token " << t;
      ++compared;
    }
  }
  EXPECT_GT(compared, 15 * cases.size());  // near ties must stay the exception
}

TEST_P(Parity, BeamSearch) {
  const Cases cases(name());
  Engine engine(golden::options(name()));
  const Tensor eos = cases["beam_eos"];
  const Tensor rows = cases["beam_rows"];
  for (int64_t i = 0; i < rows.dim(0); ++i) {
    GenerateRequest request = cases.generate_request(rows.as<int32_t>()[i], 12);
    request.num_beams = 5;
    request.eos_token_ids.assign(eos.as<int32_t>(), eos.as<int32_t>() + eos.dim(0));
    const GenerateResult r = golden::generate(engine, {request}).front();
    const std::vector<int32_t> expected = golden::ids(cases["beam_ids"], i);
    EXPECT_EQ(r.branches.at(0).token_ids, expected) << name() << " prompt " << i;
    if (r.branches[0].token_ids == expected) {
      expect_close(r.branches[0].per_token_logps, golden::floats(cases["beam_logps"], i, expected.size()), kTolerance,
                   cat("beam logps of prompt ", i));
    }
  }
}

// bf16 rounding is amplified by random weights; the band is for finding bias, not for parity.
TEST_P(Parity, Bf16StaysInItsBand) {
  const Cases cases(name());
  Engine engine(golden::options(name(), DType::bf16));
  double total = 0, signed_total = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < cases.size(); ++i) {
    const ScoreResult r = golden::score(engine, {cases.score_request(i)}).front();
    const std::vector<float> expected = cases.logps(i), &got = r.segments.at(0).per_token_logps;
    double sum = 0;
    for (size_t t = 0; t < expected.size(); ++t) {
      const double diff = double(got[t]) - expected[t];
      ASSERT_LE(std::abs(diff), 1.5) << name() << " response " << i << " token " << t;
      total += std::abs(diff);
      signed_total += diff;
      sum += diff;
      ++count;
    }
    EXPECT_LE(std::abs(sum), 3.0);
  }
  EXPECT_LE(total / double(count), 0.15);
  EXPECT_LE(std::abs(signed_total / double(count)), 0.03);
}

INSTANTIATE_TEST_SUITE_P(Models, Parity,
                         testing::Values("tiny-mha", "tiny-gqa", "tiny-llama3", "tiny-text", "tiny-nf4", "tiny-fp4"),
                         [](const auto& info) { return std::string(info.param).substr(5); });

TEST(Adapters, AloneAndStackedEqualPeft) {
  const Cases cases("tiny-mha");
  const Safetensors expected(golden::fixture("golden/models/adapters.safetensors"));
  for (const std::string which : {"a", "b", "ab"}) {
    EngineOptions options = golden::options("tiny-mha");
    for (const char c : which)
      options.adapter_dirs.push_back(golden::fixture(std::string("golden/models/adapters/") + c));
    Engine engine(options);
    const Tensor logps = expected.view("logps_" + which);
    for (int64_t i = 0; i < logps.dim(0); ++i) {
      const ScoreResult r = golden::score(engine, {cases.score_request(i)}).front();
      expect_close(r.segments.at(0).per_token_logps, golden::floats(logps, i, cases.response(i).size()), kTolerance,
                   "adapter " + which);
    }
  }
}

}  // namespace
}  // namespace vpref
