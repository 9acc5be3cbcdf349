// SPDX-License-Identifier: Apache-2.0
// Text families against transformers and peft: fixtures/families/{qwen2,qwen3,mistral}, and own/ of odd sizes
// (scripts/goldens/text_families.py). Covers families/qwen2/qwen2.cc families/qwen3/qwen3.cc
// families/mistral/mistral.cc
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>

#include "infer/forward.h"
#include "support/families.h"

namespace vpref {
namespace {

constexpr float kLogps = 3e-4f;
constexpr double kSum = 5e-4, kLoss = 2e-5, kGradient = 2e-4;
// Greedy ids must agree if the two best logits differ by more than this.
constexpr double kMargin = 1e-3;

class Families : public testing::TestWithParam<const char*> {
 protected:
  const golden::Checkpoint checkpoint{GetParam()};
  const std::vector<golden::Row>& rows() const { return checkpoint.rows; }
};

struct TrainRun {
  Context ctx{Device::cpu, 2};
  Model model;
  TrainSession session;
  TrainRun(const golden::Checkpoint& c, int level)
      : model(c.file("ckpt"), Device::cpu, DType::f32),
        session(ctx, model, golden::Checkpoint::trainer_options(level), c.file("adapter")) {}
};

TEST_P(Families, LogitsOfTheFirstResponseTokensEqualTransformers) {
  const std::string path = checkpoint.file("golden.safetensors");
  if (!file_exists(path)) GTEST_SKIP() << "own checkpoints have log-probabilities alone";
  const Safetensors file(path);
  Context ctx(Device::cpu, 1);
  Model model(checkpoint.file("ckpt"), Device::cpu, DType::f32);
  model.prepare(ctx);
  Forward forward(ctx, model, 64);
  for (const golden::Row& row : rows()) {
    const Tensor expected = file.view("logits/" + row.id);
    std::vector<int32_t> ids = row.prompt, wanted;
    ids.insert(ids.end(), row.answers[0].ids.begin(), row.answers[0].ids.end());
    for (int64_t i = 0; i < expected.dim(0); ++i) wanted.push_back(int32_t(row.prompt.size()) - 1 + int32_t(i));
    const KvRange range[] = {{0, int32_t(ids.size())}};
    StepRows step;
    for (int32_t i = 0; i < int32_t(ids.size()); ++i) step.positions.add(i);
    step.add_segment(ids, range, wanted, -1);
    std::vector<float> logits;
    forward.logits(forward.run(step, nullptr, {.read = expected.dim(0)}), 0, expected.dim(0), logits);
    golden::expect_close(logits, {expected.as<float>(), size_t(expected.numel())}, kLogps, cat("logits of ", row.id));
  }
}

TEST_P(Families, TokenLogpsEqualTransformers) {
  Engine engine(checkpoint.options());
  const std::vector<ScoreResult> results = golden::score(engine, checkpoint.score_requests());
  const std::vector<golden::Row>& expected = rows();
  for (size_t i = 0; i < expected.size(); ++i)
    for (size_t a = 0; a < expected[i].answers.size(); ++a) {
      const golden::Answer& answer = expected[i].answers[a];
      golden::expect_close(results[i].segments.at(a).per_token_logps, answer.logps, kLogps,
                           cat(expected[i].id, " answer ", a));
      EXPECT_NEAR(results[i].segments[a].logps, answer.sum, kSum) << expected[i].id << " answer " << a;
    }
}

// In small chunks over the cache, several at a time, as in an engine under load.
TEST_P(Families, GreedyIdsEqualTransformers) {
  for (const int32_t batch_tokens : {4096, 16}) {
    EngineOptions o = checkpoint.options();
    o.batch_tokens = batch_tokens;
    Engine engine(o);
    const std::vector<golden::Row>& expected = rows();
    const std::vector<GenerateResult> results = golden::generate(engine, checkpoint.greedy_requests());
    int compared = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      if (expected[i].margin < kMargin) continue;
      EXPECT_EQ(results[i].branches.at(0).token_ids, expected[i].greedy) << expected[i].id << " by " << batch_tokens;
      ++compared;
    }
    EXPECT_GE(compared, int(expected.size()) - 2);
  }
}

TEST_P(Families, LossAndEveryGradientEqualTransformersAtEveryRecomputeLevel) {
  const std::vector<SessionRow> pairs = checkpoint.pairs();
  const std::vector<Json>& expected = golden::at(checkpoint.dpo, "pairs").array();
  ASSERT_EQ(pairs.size(), expected.size());
  std::string file = cat(testing::TempDir(), "/families-", getpid(), ".safetensors");
  for (int level : {0, 1, 2, 3}) {
    SCOPED_TRACE(cat("level ", level));
    TrainRun run(checkpoint, level);
    const StepResult result = run.session.save_gradients(pairs, file);
    EXPECT_NEAR(result.loss, golden::at(checkpoint.dpo, "loss_mean").number(), kLoss);
    for (size_t i = 0; i < pairs.size(); ++i) {
      EXPECT_NEAR(result.rows[i].policy[0], golden::at(expected[i], "policy_chosen").number(), kSum);
      EXPECT_NEAR(result.rows[i].policy[1], golden::at(expected[i], "policy_rejected").number(), kSum);
    }
    golden::expect_gradients(file, checkpoint.file("grads.safetensors"), kGradient);
  }
  std::filesystem::remove(file);
}

// A step takes its planned bytes, with windows and q/k norm.
TEST_P(Families, MemoryPlanEqualsTheBytesOfAStep) {
  const std::vector<SessionRow> rows = checkpoint.pairs();
  std::vector<RowSize> sizes;
  for (const SessionRow& s : rows) {
    RowSize size;
    for (const SegmentInput& segment : s.row.segments) {
      size.rows += int64_t(segment.token_ids.size());
      if (segment.branch >= 0) size.targets += int64_t(segment.token_ids.size());
    }
    sizes.push_back(size);
  }
  const std::vector<int64_t> one_step = {int64_t(rows.size())};
  for (int level : {0, 1, 2, 3}) {
    TrainRun run(checkpoint, level);
    const MemoryPlan plan = run.session.trainer().plan(sizes, one_step, kNoLimit);
    run.session.step(rows);
    EXPECT_LE(run.session.trainer().activation_peak(), plan.activations) << "level " << level;
  }
}

// Random weights amplify bf16's rounding: the same tolerance as for the other tiny models, and a bound on the mean
// signed difference, because rounding has no bias, but a mistake has.
TEST_P(Families, Bf16StaysInItsBand) {
  Engine engine(checkpoint.options(DType::bf16));
  const std::vector<ScoreResult> results = golden::score(engine, checkpoint.score_requests());
  double sum = 0, sizes = 0, worst = 0;
  int count = 0;
  for (size_t i = 0; i < rows().size(); ++i)
    for (size_t a = 0; a < rows()[i].answers.size(); ++a)
      for (size_t t = 0; t < rows()[i].answers[a].logps.size(); ++t, ++count) {
        const double difference =
            double(results[i].segments.at(a).per_token_logps.at(t)) - rows()[i].answers[a].logps[t];
        sum += difference;
        sizes += std::abs(difference);
        worst = std::max(worst, std::abs(difference));
      }
  EXPECT_LE(worst, 1.5);
  EXPECT_LE(sizes / count, 0.15);
  EXPECT_LE(std::abs(sum / count), 3 * sizes / count / std::sqrt(double(count)) + 0.01);
}

TEST_P(Families, ARowWithImagesIsRefusedByAModelThatReadsText) {
  TrainRun run(checkpoint, 0);
  std::vector<SessionRow> rows = checkpoint.pairs();
  rows[0].images = {Image{4, 4, {{4, 4, std::vector<uint8_t>(48)}}, {}}};
  try {
    run.session.step(rows);
    FAIL() << "a row with images was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "request");
    EXPECT_NE(std::string(error.what()).find(cat("row ", rows[0].row.id, ": images: expected none")), std::string::npos)
        << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(All, Families,
                         testing::Values("qwen2", "qwen3", "mistral", "own/qwen2-layers", "own/qwen2-wide",
                                         "own/qwen3-biases", "own/qwen3-tied", "own/mistral-wide", "own/mistral-none"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace_if(name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
                           return name;
                         });

}  // namespace
}  // namespace vpref
