// SPDX-License-Identifier: Apache-2.0
// Runs that must agree to the last bit: whatever is computed beside a request, in whatever order and pieces. Only
// scoring of what was generated agrees within rounding: decoding sums attention in another order.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>

#include "support/golden.h"

namespace vpref {
namespace {

using golden::Cases;
using golden::expect_close;

struct Setting {
  const char* model;
  DType dtype;
};
void PrintTo(const Setting& s, std::ostream* os) {
  *os << std::string(s.model).substr(5) << "_" << dtype_name(s.dtype);
}

class Invariance : public testing::TestWithParam<Setting> {
 protected:
  Cases cases{GetParam().model};
  EngineOptions options() const {
    EngineOptions o = golden::options(GetParam().model);
    o.dtype = GetParam().dtype;
    return o;
  }
  float rounding() const { return GetParam().dtype == DType::f32 ? 2e-4f : 2e-2f; }
  std::vector<GenerateRequest> requests(float temperature) const {
    std::vector<GenerateRequest> out;
    for (int64_t i = 0; i < 16; ++i) {
      GenerateRequest r = cases.generate_request(i, 12);
      r.sampling.temperature = temperature;
      r.sampling.top_p = 0.95f;
      r.sampling.seed = 7;
      r.num_samples = 1 + int32_t(i % 3);
      out.push_back(std::move(r));
    }
    return out;
  }
};

void expect_same(const GenerateResult& a, const GenerateResult& b, const std::string& what) {
  ASSERT_EQ(a.branches.size(), b.branches.size()) << what;
  for (size_t k = 0; k < a.branches.size(); ++k) {
    EXPECT_EQ(a.branches[k].token_ids, b.branches[k].token_ids) << what << " branch " << k;
    EXPECT_EQ(a.branches[k].per_token_logps, b.branches[k].per_token_logps) << what << " branch " << k;
    EXPECT_EQ(a.branches[k].finish_reason, b.branches[k].finish_reason) << what;
  }
}

TEST_P(Invariance, BatchOneEqualsBatchSixteenEqualsAnyOrder) {
  for (const float temperature : {0.0f, 0.8f}) {
    const std::vector<GenerateRequest> all = requests(temperature);
    Engine together(options()), alone(options()), backwards(options());
    const std::vector<GenerateResult> expected = golden::generate(together, all);
    for (size_t i = 0; i < all.size(); ++i)
      expect_same(golden::generate(alone, {all[i]}).front(), expected[i], cat("alone ", i));
    const std::vector<GenerateRequest> reversed(all.rbegin(), all.rend());
    std::vector<GenerateResult> got = golden::generate(backwards, reversed);
    std::reverse(got.begin(), got.end());
    for (size_t i = 0; i < all.size(); ++i) expect_same(got[i], expected[i], cat("backwards ", i));
  }
}

TEST_P(Invariance, SamePlanSameBytes) {
  const std::vector<GenerateRequest> all = requests(0.8f);
  Engine first(options()), second(options());
  const std::vector<GenerateResult> a = golden::generate(first, all), b = golden::generate(second, all);
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t k = 0; k < a[i].branches.size(); ++k) {
      EXPECT_EQ(a[i].branches[k].token_ids, b[i].branches[k].token_ids);
      EXPECT_EQ(a[i].branches[k].per_token_logps, b[i].branches[k].per_token_logps);
    }
  }
}

TEST_P(Invariance, BranchesOfOnePrefixEqualSeparatePrompts) {
  Engine engine(options());
  for (int64_t i = 0; i < 4; ++i) {
    GenerateRequest four = cases.generate_request(i, 12);
    four.sampling.temperature = 0.9f;
    four.sampling.seed = 3;
    four.num_samples = 4;
    const GenerateResult together = golden::generate(engine, {four}).front();
    std::vector<GenerateRequest> single(4, four);
    for (uint32_t k = 0; k < 4; ++k) {
      single[k].num_samples = 1;
      single[k].first_sample = k;
    }
    const std::vector<GenerateResult> apart = golden::generate(engine, single);
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_EQ(apart[k].branches[0].token_ids, together.branches[k].token_ids);
      EXPECT_EQ(apart[k].branches[0].per_token_logps, together.branches[k].per_token_logps) << "branch " << k;
    }
    EXPECT_NE(together.branches[0].token_ids,
              together.branches[1].token_ids);  // or the branches would not be drawn apart
  }
}

TEST_P(Invariance, PromptsInPiecesAndASmallSlabChangeNothing) {
  const std::vector<GenerateRequest> all = requests(0.8f);
  EngineOptions options = this->options();
  Engine whole(options);
  options.batch_tokens = 24;  // long prompts come in pieces
  options.kv_tokens = 160;    // requests wait for room
  Engine pieces(options);
  const std::vector<GenerateResult> a = golden::generate(whole, all), b = golden::generate(pieces, all);
  for (size_t i = 0; i < all.size(); ++i) expect_same(b[i], a[i], cat("request ", i));
}

TEST_P(Invariance, ScoreOfWhatWasGeneratedIsItsLogps) {
  Engine engine(options());
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
      expect_close(scored[i].segments.at(k).per_token_logps, generated[i].branches[k].per_token_logps, rounding(),
                   cat("request ", i, " branch ", k));
      EXPECT_NEAR(scored[i].segments[k].logps, generated[i].branches[k].logps, 5 * rounding());
    }
  }
}

// A pair as one tree, as two sequences, and as a deep tree whose prompt is cut in two.
TEST_P(Invariance, OneTreeEqualsSeparateSequences) {
  Engine engine(options());
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
    const ScoreResult first = golden::score(engine, {cases.score_request(i)}).front(),
                      deeper = golden::score(engine, {deep}).front();
    EXPECT_EQ(tree.segments.at(0).per_token_logps, first.segments.at(0).per_token_logps) << "chosen";
    EXPECT_EQ(tree.segments.at(1).per_token_logps, second.segments.at(0).per_token_logps) << "rejected";
    EXPECT_EQ(deeper.segments.at(0).per_token_logps, first.segments.at(0).per_token_logps) << "chosen, deep tree";
    EXPECT_EQ(deeper.segments.at(1).per_token_logps, second.segments.at(0).per_token_logps) << "rejected, deep tree";
  }
}

// Scored alone, together, in any order and in steps of any size, on one thread or three.
TEST_P(Invariance, ScoresDoNotDependOnTheirNeighbours) {
  std::vector<ScoreRequest> all;
  for (int64_t i = 0; i < cases.size(); ++i) {
    ScoreRequest r = cases.score_request(i);
    for (int64_t k = 1; k <= i % 3; ++k) r.segments.push_back({0, cases.response((i + k) % cases.size()), {}, true});
    all.push_back(std::move(r));
  }
  Engine together(options());
  const std::vector<ScoreResult> expected = golden::score(together, all);
  const auto expect_scores = [&](const ScoreResult& got, size_t i, const std::string& what) {
    ASSERT_EQ(got.segments.size(), expected[i].segments.size());
    for (size_t k = 0; k < got.segments.size(); ++k)
      EXPECT_EQ(got.segments[k].per_token_logps, expected[i].segments[k].per_token_logps)
          << what << " " << i << " segment " << k;
  };
  Engine alone(options());
  for (size_t i = 0; i < all.size(); ++i) expect_scores(golden::score(alone, {all[i]}).front(), i, "alone");
  std::vector<size_t> order(all.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = (i * 7 + 3) % order.size();
  for (const auto& [batch_tokens, threads] : {std::pair{40, 1}, {90, 3}, {400, 2}}) {
    EngineOptions o = options();
    o.batch_tokens = batch_tokens;
    o.threads = threads;
    Engine other(o);
    std::vector<ScoreRequest> shuffled;
    for (const size_t i : order) shuffled.push_back(all[i]);
    const std::vector<ScoreResult> got = golden::score(other, shuffled);
    for (size_t i = 0; i < order.size(); ++i)
      expect_scores(got[i], order[i], cat("steps of ", batch_tokens, " on ", threads, " threads"));
  }
}

// A prompt in pieces of any size, beside others or alone, with or without a prompt to share rows with.
TEST_P(Invariance, PiecesOfAnySizeChangeNothing) {
  const std::vector<GenerateRequest> all = requests(0.8f);
  Engine whole(options());
  const std::vector<GenerateResult> expected = golden::generate(whole, all);
  for (const int64_t batch_tokens : {1, 2, 7, 33}) {
    EngineOptions o = options();
    o.batch_tokens = batch_tokens;
    o.threads = 1 + int32_t(batch_tokens % 3);
    Engine pieces(o);
    const std::vector<GenerateRequest> reversed(all.rbegin(), all.rend());
    const std::vector<GenerateResult> got = golden::generate(pieces, reversed);
    for (size_t i = 0; i < all.size(); ++i)
      expect_same(got[all.size() - 1 - i], expected[i], cat("pieces of ", batch_tokens, ", request ", i));
  }
}

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const char* model : {"tiny-mha", "tiny-gqa", "tiny-llama3", "tiny-text"})
    for (const DType dtype : {DType::f32, DType::bf16}) all.push_back({model, dtype});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Models, Invariance, testing::ValuesIn(settings()),
                         [](const auto& info) { return testing::PrintToString(info.param); });

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
    EXPECT_EQ(golden::score(alone, {trees[i]}).front().segments.at(0).per_token_logps,
              scored[i].segments.at(0).per_token_logps)
        << "tree " << i;
  }
  const std::string plan = plan_of(together);
  EXPECT_NE(plan.find("1 images encoded"), std::string::npos) << plan;
  EXPECT_EQ(plan.find(", 0 shared"), std::string::npos) << plan;
}

TEST(Memory, CachedPromptsAreEvictedBeforeTheKvCacheGrows) {
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

TEST(Sharing, ImagesOfAnotherDistortionAreNotShared) {
  const Cases cases("tiny-mha");
  Engine engine(golden::options("tiny-mha"));
  ScoreRequest clean = cases.score_request(0), noisy = clean, again = clean;
  noisy.images[0].diffusion = DiffusionRecipe{500, 1};
  again.images[0].diffusion = DiffusionRecipe{500, 2};
  const std::vector<ScoreResult> r = golden::score(engine, {clean, noisy, again, noisy});
  EXPECT_GT(std::abs(r[0].segments[0].logps - r[1].segments[0].logps), 1e-3);
  EXPECT_GT(std::abs(r[1].segments[0].logps - r[2].segments[0].logps), 1e-3);
  EXPECT_EQ(r[1].segments[0].per_token_logps, r[3].segments[0].per_token_logps) << "the same recipe";
}

}  // namespace
}  // namespace vpref
