// SPDX-License-Identifier: Apache-2.0
// Runs that must agree: exactly for the same batch plan, within rounding across plans.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>

#include "support/golden.h"

namespace vpref {
namespace {

using golden::Cases;
using golden::expect_close;

// Another batch shape may take another GEMM kernel.
constexpr float kRounding = 2e-4f;

class Invariance : public testing::TestWithParam<const char*> {
 protected:
  Cases cases{GetParam()};
  std::vector<GenerateRequest> requests(float temperature) const {
    std::vector<GenerateRequest> out;
    for (int64_t i = 0; i < 16; ++i) {
      GenerateRequest r = cases.generate_request(i, 12);
      r.temperature = temperature;
      r.top_p = 0.95f;
      r.seed = 7;
      r.num_branches = 1 + int32_t(i % 3);
      out.push_back(std::move(r));
    }
    return out;
  }
};

void expect_same(const GenerateResult& a, const GenerateResult& b, const std::string& what) {
  ASSERT_EQ(a.branches.size(), b.branches.size()) << what;
  for (size_t k = 0; k < a.branches.size(); ++k) {
    EXPECT_EQ(a.branches[k].token_ids, b.branches[k].token_ids) << what << " branch " << k;
    if (a.branches[k].token_ids != b.branches[k].token_ids) continue;
    expect_close(a.branches[k].per_token_logps, b.branches[k].per_token_logps, kRounding, what);
    EXPECT_EQ(a.branches[k].finish_reason, b.branches[k].finish_reason) << what;
  }
}

TEST_P(Invariance, BatchOneEqualsBatchSixteenEqualsAnyOrder) {
  for (const float temperature : {0.0f, 0.8f}) {
    const std::vector<GenerateRequest> all = requests(temperature);
    Engine together(golden::options(GetParam())), alone(golden::options(GetParam())), backwards(golden::options(GetParam()));
    const std::vector<GenerateResult> expected = golden::generate(together, all);
    for (size_t i = 0; i < all.size(); ++i) expect_same(golden::generate(alone, {all[i]}).front(), expected[i], cat("alone ", i));
    const std::vector<GenerateRequest> reversed(all.rbegin(), all.rend());
    std::vector<GenerateResult> got = golden::generate(backwards, reversed);
    std::reverse(got.begin(), got.end());
    for (size_t i = 0; i < all.size(); ++i) expect_same(got[i], expected[i], cat("backwards ", i));
  }
}

TEST_P(Invariance, SamePlanSameBytes) {
  const std::vector<GenerateRequest> all = requests(0.8f);
  Engine first(golden::options(GetParam())), second(golden::options(GetParam()));
  const std::vector<GenerateResult> a = golden::generate(first, all), b = golden::generate(second, all);
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t k = 0; k < a[i].branches.size(); ++k) {
      EXPECT_EQ(a[i].branches[k].token_ids, b[i].branches[k].token_ids);
      EXPECT_EQ(a[i].branches[k].per_token_logps, b[i].branches[k].per_token_logps);
    }
  }
}

TEST_P(Invariance, BranchesOfOnePrefixEqualSeparatePrompts) {
  Engine engine(golden::options(GetParam()));
  for (int64_t i = 0; i < 4; ++i) {
    GenerateRequest four = cases.generate_request(i, 12);
    four.temperature = 0.9f;
    four.seed = 3;
    four.num_branches = 4;
    const GenerateResult together = golden::generate(engine, {four}).front();
    std::vector<GenerateRequest> single(4, four);
    for (uint32_t k = 0; k < 4; ++k) {
      single[k].num_branches = 1;
      single[k].first_branch = k;
    }
    const std::vector<GenerateResult> apart = golden::generate(engine, single);
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_EQ(apart[k].branches[0].token_ids, together.branches[k].token_ids);
      expect_close(apart[k].branches[0].per_token_logps, together.branches[k].per_token_logps, kRounding, cat("branch ", k));
    }
    EXPECT_NE(together.branches[0].token_ids, together.branches[1].token_ids);  // or the branches would not be drawn apart
  }
}

TEST_P(Invariance, PromptsInPiecesAndASmallSlabChangeNothing) {
  const std::vector<GenerateRequest> all = requests(0.8f);
  EngineOptions options = golden::options(GetParam());
  Engine whole(options);
  options.batch_tokens = 24;  // long prompts come in pieces
  options.kv_tokens = 160;    // requests wait for room
  Engine pieces(options);
  const std::vector<GenerateResult> a = golden::generate(whole, all), b = golden::generate(pieces, all);
  for (size_t i = 0; i < all.size(); ++i) expect_same(b[i], a[i], cat("request ", i));
}

TEST_P(Invariance, ScoreOfWhatWasGeneratedIsItsLogps) {
  Engine engine(golden::options(GetParam()));
  const std::vector<GenerateRequest> all = requests(0.8f);
  const std::vector<GenerateResult> generated = golden::generate(engine, all);
  std::vector<ScoreRequest> trees;
  for (size_t i = 0; i < all.size(); ++i) {
    ScoreRequest tree = cases.score_request(int64_t(i));
    tree.segments.resize(1);
    for (const GeneratedBranch& b : generated[i].branches) tree.segments.push_back({0, b.token_ids, {}, true});
    trees.push_back(std::move(tree));
  }
  const std::vector<ScoreResult> scored = golden::score(engine, trees);
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t k = 0; k < generated[i].branches.size(); ++k) {
      expect_close(scored[i].segments.at(k).per_token_logps, generated[i].branches[k].per_token_logps, kRounding, cat("request ", i, " branch ", k));
      EXPECT_NEAR(scored[i].segments[k].logps, generated[i].branches[k].logps, 1e-3);
    }
  }
}

// A pair as one tree, as two sequences, and as a deep tree whose prompt is cut in two.
TEST_P(Invariance, OneTreeEqualsSeparateSequences) {
  Engine engine(golden::options(GetParam()));
  for (int64_t i = 0; i < cases.size(); ++i) {
    const std::vector<int32_t> chosen = cases.response(i), rejected = cases.response((i + 1) % cases.size());
    ScoreRequest pair = cases.score_request(i), other = cases.score_request(i), deep = cases.score_request(i);
    pair.segments.push_back({0, rejected, {}, true});
    other.segments[1].token_ids = rejected;
    const std::vector<int32_t> prompt = deep.segments[0].token_ids;
    const auto cut = prompt.end() - 4;  // after the images
    deep.segments[0].token_ids.assign(prompt.begin(), cut);
    deep.segments[1] = {0, {cut, prompt.end()}, {}, false};
    deep.segments.push_back({1, chosen, {}, true});
    deep.segments.push_back({1, rejected, {}, true});
    const ScoreResult tree = golden::score(engine, {pair}).front(), second = golden::score(engine, {other}).front();
    const ScoreResult first = golden::score(engine, {cases.score_request(i)}).front(), deeper = golden::score(engine, {deep}).front();
    expect_close(tree.segments.at(0).per_token_logps, first.segments.at(0).per_token_logps, kRounding, "chosen");
    expect_close(tree.segments.at(1).per_token_logps, second.segments.at(0).per_token_logps, kRounding, "rejected");
    expect_close(deeper.segments.at(0).per_token_logps, first.segments.at(0).per_token_logps, kRounding, "chosen, deep tree");
    expect_close(deeper.segments.at(1).per_token_logps, second.segments.at(0).per_token_logps, kRounding, "rejected, deep tree");
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Invariance, testing::Values("tiny-mha", "tiny-gqa", "tiny-llama3", "tiny-text"),
                         [](const auto& info) { return std::string(info.param).substr(5); });

// Several questions about one image: its rows are computed once, and the answers are those of separate runs.
// The memory plan once everything before it is done.
std::string plan_of(Engine& engine) {
  std::promise<void> done;
  engine.run([](Context&, Model&) {}, [&](auto) { done.set_value(); });
  done.get_future().get();
  return engine.memory_plan();
}

TEST(Sharing, QuestionsAboutOneImageShareItsRows) {
  const Cases cases("tiny-mha");
  std::vector<GenerateRequest> questions;
  std::vector<ScoreRequest> trees;
  for (const int64_t i : {0, 4, 8, 12}) {
    GenerateRequest r = cases.generate_request(i, 6);
    r.images = cases.images(0);
    questions.push_back(r);
    ScoreRequest s = cases.score_request(i);
    s.images = cases.images(0);
    trees.push_back(s);
  }
  Engine together(golden::options("tiny-mha"));
  const std::vector<GenerateResult> shared = golden::generate(together, questions);
  const std::vector<ScoreResult> scored = golden::score(together, trees);
  for (size_t i = 0; i < questions.size(); ++i) {
    Engine alone(golden::options("tiny-mha"));
    expect_same(golden::generate(alone, {questions[i]}).front(), shared[i], cat("question ", i));
    expect_close(golden::score(alone, {trees[i]}).front().segments.at(0).per_token_logps, scored[i].segments.at(0).per_token_logps, kRounding, cat("tree ", i));
  }
  const std::string plan = plan_of(together);
  EXPECT_NE(plan.find("1 images encoded"), std::string::npos) << plan;
  EXPECT_EQ(plan.find(", 0 shared"), std::string::npos) << plan;
}

TEST(Memory, PromptsThatAreKeptGiveWayBeforeMoreIsTouched) {
  const Cases cases("tiny-mha");
  Engine engine(golden::options("tiny-mha"));
  size_t most = 0;
  for (int64_t i = 0; i < 12; ++i) {
    const GenerateRequest r = cases.generate_request(i, 6);
    most = std::max(most, r.prompt.size() + 5);
    golden::generate(engine, {r});
  }
  const std::string plan = plan_of(engine);
  const size_t at = plan.find(" rows, ");
  ASSERT_NE(at, std::string::npos) << plan;
  // Twice: a prompt that shares its beginning with the one before keeps that one's rows too.
  EXPECT_LE(std::stoul(plan.substr(at + 7)), 2 * most) << plan;
}

TEST(Sharing, AnotherRecipeIsAnotherImage) {
  const Cases cases("tiny-mha");
  Engine engine(golden::options("tiny-mha"));
  ScoreRequest clean = cases.score_request(0), noisy = clean, again = clean;
  noisy.images[0].diffusion = DiffusionRecipe{500, 1};
  again.images[0].diffusion = DiffusionRecipe{500, 2};
  const std::vector<ScoreResult> r = golden::score(engine, {clean, noisy, again, noisy});
  EXPECT_GT(std::abs(r[0].segments[0].logps - r[1].segments[0].logps), 1e-3);
  EXPECT_GT(std::abs(r[1].segments[0].logps - r[2].segments[0].logps), 1e-3);
  expect_close(r[1].segments[0].per_token_logps, r[3].segments[0].per_token_logps, kRounding, "the same recipe");
}

}  // namespace
}  // namespace vpref
