// SPDX-License-Identifier: Apache-2.0
// The engine's queue, end rules and errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "infer/score.h"
#include "infer/stop.h"
#include "model/load.h"
#include "support/golden.h"

namespace vpref {
namespace {

using golden::Cases;

class EngineTest : public testing::Test {
 protected:
  Cases cases{"tiny-mha"};
  GenerateRequest request(int32_t max_new_tokens = 8) const { return cases.generate_request(0, max_new_tokens); }
};

template <class F>
std::string error_code(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return "none";
}

TEST_F(EngineTest, InfoComesFromTheCheckpoint) {
  Engine engine(golden::options("tiny-llama3"));
  const EngineInfo& f = engine.info();
  EXPECT_EQ(f.model_type, "llava");
  const ImageShape shape{70, 90, {{50, 50}}};
  EXPECT_EQ(engine.layout(shape).runs, std::vector<int32_t>{17});  // 4 x 4 patches and the class row
  EXPECT_EQ(engine.layout(shape).position_span, 17);
  EXPECT_EQ(error_code([&] { engine.layout({50, 50, {{50, 56}}}); }), "request");
  EXPECT_EQ(error_code([&] { engine.layout({50, 50, {{50, 50}, {50, 50}}}); }), "request");
  EXPECT_EQ(f.image_token_id, 787);
  EXPECT_EQ(f.vocab_size, 832);
  EXPECT_EQ(f.eos_token_ids, std::vector<int32_t>{2});
  EXPECT_EQ(f.stored_dtype, DType::f16);
  Engine text(golden::options("tiny-text"));
  EXPECT_FALSE(text.info().has_vision);
  EXPECT_EQ(error_code([&] { text.layout(shape); }), "request");
}

TEST_F(EngineTest, BadRequestsAreRefusedAtOnce) {
  Engine engine(golden::options("tiny-mha"));
  const auto refused = [&](auto change) {
    GenerateRequest r = request();
    change(r);
    return error_code([&] { engine.generate(r, [](auto) {}); });
  };
  EXPECT_EQ(refused([](auto& r) { r.prompt.clear(); }), "request");
  EXPECT_EQ(refused([](auto& r) { r.prompt[0] = 832; }), "request");
  EXPECT_EQ(refused([](auto& r) { r.prompt[0] = -1; }), "request");
  EXPECT_EQ(refused([](auto& r) { r.images.clear(); }), "request");
  EXPECT_EQ(refused([](auto& r) { r.images.push_back(r.images[0]); }), "request");
  EXPECT_EQ(refused([](auto& r) { r.images[0].crops[0].width = 55; }), "request");
  EXPECT_EQ(refused([](auto& r) { r.images[0].crops[0].pixels.pop_back(); }), "request");
  EXPECT_EQ(refused([](auto& r) { r.prompt.erase(r.prompt.begin() + 5); }), "request");  // an image row is missing
  EXPECT_EQ(refused([](auto& r) { r.prompt.resize(512, 5); }), "request");
  EXPECT_EQ(refused([](auto& r) { r.max_new_tokens = 0; }), "request");
  EXPECT_EQ(refused([](auto& r) { r.num_samples = 0; }), "request");
  EXPECT_EQ(refused([](auto& r) { r.sampling.top_p = 0; }), "request");
  EXPECT_EQ(refused([](auto& r) { r.sampling.top_k = -1; }), "request");
  EXPECT_EQ(refused([](auto& r) { r.sampling.temperature = std::nanf(""); }), "request");
  EXPECT_EQ(refused([](auto& r) { r.num_beams = 2, r.sampling.temperature = 1; }), "request");
  EXPECT_EQ(refused([](auto& r) { r.stop_strings = {"x"}; }), "request");  // no token_bytes at load

  const auto score_refused = [&](auto change) {
    ScoreRequest r = cases.score_request(0);
    change(r);
    return error_code([&] { engine.score(r, [](auto) {}); });
  };
  EXPECT_EQ(score_refused([](auto& r) { r.segments.clear(); }), "request");
  EXPECT_EQ(score_refused([](auto& r) { r.segments[0].scored = true; }), "request");
  EXPECT_EQ(score_refused([](auto& r) { r.segments[1].parent = 1; }), "request");
  EXPECT_EQ(score_refused([](auto& r) { r.segments[1].token_ids.clear(); }), "request");
  EXPECT_EQ(score_refused([](auto& r) { r.segments[0].images = {1}; }), "request");
  EXPECT_EQ(score_refused([](auto& r) { r.segments[1].token_ids.assign(600, 4); }), "request");
  EXPECT_EQ(golden::generate(engine, {request()}).size(), 1u);  // the engine continues
}

TEST_F(EngineTest, QueueIsBounded) {
  EngineOptions options = golden::options("tiny-mha");
  options.queue_limit = 2;
  Engine engine(options);
  std::atomic<int> done = 0;
  engine.pace(true);
  engine.generate(request(), [&](auto) { ++done; });
  engine.generate(request(), [&](auto) { ++done; });
  EXPECT_EQ(error_code([&] { engine.generate(request(), [&](auto) { ++done; }); }), "busy");
  engine.pace(false);
  while (done < 2) std::this_thread::yield();
  EXPECT_EQ(golden::generate(engine, {request()}).size(), 1u);
}

TEST_F(EngineTest, WaitingAndRunningRequestsCanBeCancelled) {
  Engine engine(golden::options("tiny-mha"));
  std::promise<Outcome<GenerateResult>> waiting, running;
  engine.pace(true);
  const auto id = engine.generate(request(), [&](auto o) { waiting.set_value(std::move(o)); });
  engine.cancel(id);
  const auto outcome = waiting.get_future().get();
  ASSERT_TRUE(std::holds_alternative<Error>(outcome));
  EXPECT_EQ(std::get<Error>(outcome).code(), "cancelled");
  engine.pace(false);

  GenerateRequest endless = request(400);
  endless.eos_token_ids = {100000};
  endless.num_samples = 8;
  endless.sampling.temperature = 1;
  const auto second = engine.generate(endless, [&](auto o) { running.set_value(std::move(o)); });
  engine.cancel(second);
  EXPECT_TRUE(std::holds_alternative<Error>(running.get_future().get()));
  EXPECT_EQ(golden::generate(engine, {request()}).size(), 1u);
}

TEST_F(EngineTest, PacedEngineComputesOnlyDuringAdvance) {
  Engine engine(golden::options("tiny-mha"));
  const auto advance = [&] {
    std::promise<void> paused;
    engine.advance([&] { paused.set_value(); });
    paused.get_future().get();
  };
  engine.pace(true);
  advance();  // nothing to do: it returns at once
  std::atomic<int> ended = 0;
  engine.generate(request(1), [&](auto) { ++ended; });
  engine.generate(request(4), [&](auto) { ++ended; });
  std::promise<void> idle;
  engine.run([](Context&, Model&) {}, [&](auto) { idle.set_value(); });
  idle.get_future().get();
  EXPECT_EQ(ended, 0);
  advance();
  EXPECT_EQ(ended, 1);  // the shorter one; the other is paused
  advance();
  EXPECT_EQ(ended, 2);
  std::promise<Outcome<GenerateResult>> cancelled;
  engine.cancel(engine.generate(request(), [&](auto o) { cancelled.set_value(std::move(o)); }));
  EXPECT_TRUE(std::holds_alternative<Error>(cancelled.get_future().get()));
  engine.pace(false);
  EXPECT_EQ(golden::generate(engine, {request()}).size(), 1u);
}

TEST_F(EngineTest, ClosingCancelsTheRemainingRequests) {
  std::atomic<int> cancelled = 0;
  {
    Engine engine(golden::options("tiny-mha"));
    engine.pace(true);
    for (int i = 0; i < 3; ++i) {
      engine.generate(request(),
                      [&](Outcome<GenerateResult> o) { cancelled += std::get<Error>(o).code() == "cancelled"; });
    }
    engine.score(cases.score_request(0),
                 [&](Outcome<ScoreResult> o) { cancelled += std::get<Error>(o).code() == "cancelled"; });
  }
  EXPECT_EQ(cancelled, 4);
}

TEST_F(EngineTest, JobsRunOnTheComputeThreadAndReportErrors) {
  Engine engine(golden::options("tiny-mha"));
  std::promise<int64_t> parameters;
  std::promise<Outcome<std::monostate>> done, failed;
  engine.run([&](Context&, Model& model) { parameters.set_value(model.num_parameters()); },
             [&](auto o) { done.set_value(std::move(o)); });
  EXPECT_GT(parameters.get_future().get(), 100000);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(done.get_future().get()));
  engine.run([](Context&, Model&) { throw Error("nonfinite", "step 3"); },
             [&](auto o) { failed.set_value(std::move(o)); });
  const auto outcome = failed.get_future().get();
  EXPECT_EQ(std::get<Error>(outcome).code(), "nonfinite");
}

TEST_F(EngineTest, ResponsesEndAtTheLastPosition) {
  Engine engine(golden::options("tiny-mha"));
  GenerateRequest r = cases.generate_request(1, 100000);
  r.eos_token_ids = {100000};
  const GenerateResult result = golden::generate(engine, {r}).front();
  EXPECT_EQ(result.branches[0].token_ids.size(), 512 - r.prompt.size());
  EXPECT_EQ(result.branches[0].finish_reason, FinishReason::length);
}

TEST_F(EngineTest, EndTokenIsKeptAndCounted) {
  Engine engine(golden::options("tiny-mha"));
  const std::vector<int32_t> greedy = golden::generate(engine, {request()}).front().branches[0].token_ids;
  GenerateRequest r = request();
  r.eos_token_ids = {greedy[3]};
  const GeneratedBranch b = golden::generate(engine, {r}).front().branches[0];
  const auto first = std::find(greedy.begin(), greedy.end(), greedy[3]);
  EXPECT_EQ(b.token_ids, std::vector<int32_t>(greedy.begin(), first + 1));
  EXPECT_EQ(b.per_token_logps.size(), b.token_ids.size());
  EXPECT_EQ(b.finish_reason, FinishReason::stop);
  EXPECT_EQ(b.stop_string, -1);
}

TEST_F(EngineTest, StopStringsMatchBytesAcrossTokens) {
  EngineOptions options = golden::options("tiny-mha");
  for (int32_t id = 0; id < 832; ++id) options.token_bytes.push_back(cat(id, ";"));
  Engine engine(options);
  const std::vector<int32_t> greedy = golden::generate(engine, {request()}).front().branches[0].token_ids;
  GenerateRequest r = request();
  // The end of the second token's bytes and the start of the third's.
  r.stop_strings = {"nothing", cat(greedy[1], ";", greedy[2] >= 100 ? greedy[2] / 100 : greedy[2])};
  const GeneratedBranch b = golden::generate(engine, {r}).front().branches[0];
  EXPECT_EQ(b.token_ids, std::vector<int32_t>(greedy.begin(), greedy.begin() + 3));
  EXPECT_EQ(b.finish_reason, FinishReason::stop);
  EXPECT_EQ(b.stop_string, 1);
}

TEST(Stop, FindsTheFirstOfSeveral) {
  const std::vector<std::string> stops = {"cd", "abc"}, table = {"a", "b", "c", "d"};
  StopMatcher matcher(&stops, &table);
  EXPECT_EQ(matcher.feed(0), -1);
  EXPECT_EQ(matcher.feed(1), -1);
  EXPECT_EQ(matcher.feed(2), 1);
}

TEST(Stop, RepetitionNeedsWholeCopies) {
  const std::vector<int32_t> twice = {9, 1, 2, 1, 2}, thrice = {9, 1, 2, 1, 2, 1, 2};
  EXPECT_FALSE(repeats(thrice, {0, 3}));  // disabled
  EXPECT_FALSE(repeats(twice, {4, 3}));
  EXPECT_TRUE(repeats(thrice, {4, 3}));
  EXPECT_FALSE(repeats(thrice, {1, 3}));
  const std::vector<int32_t> same = {5, 5, 5};
  EXPECT_TRUE(repeats(same, {1, 3}));
}

TEST_F(EngineTest, ABrokenModelFailsEveryRequestButNotTheProcess) {
  EXPECT_EQ(error_code([&] { Engine engine(golden::options("no-such-model")); }), "checkpoint");
  EngineOptions options = golden::options("tiny-mha");
  options.adapter_dirs = {golden::fixture("tiny-mha")};
  EXPECT_EQ(error_code([&] { Engine engine(options); }), "checkpoint");
}

// The row counts that decide how many requests go into one forward.
TEST(Scorer, CountsCommonPrefixesOnce) {
  constexpr int32_t kImage = 99;
  const auto item = [](std::vector<int32_t> prompt, uint8_t pixel) {
    Image image{.height = 1, .width = 1, .crops = {{.height = 1, .width = 1, .pixels = {pixel, 0, 0}}}};
    ScoreRequest r{.segments = {{.token_ids = std::move(prompt), .images = {0}},
                                {.parent = 0, .token_ids = {5, 2}, .scored = true},
                                {.parent = 0, .token_ids = {6}, .scored = true}},
                   .images = {image}};
    const uint64_t key = Scorer::images_key(r);
    return ScoreItem{0, std::move(r), {}, key};
  };
  const ScoreItem others[] = {item({1, 3, kImage, kImage, 7, 8}, 10)};
  const auto rows = [&](const ScoreItem& one) { return Scorer::rows_beside(others, one, kImage); };
  EXPECT_EQ(Scorer::rows_beside({}, others[0], kImage), 7);       // the last row of a response is not computed
  EXPECT_EQ(rows(item({1, 3, kImage, kImage, 7, 9, 9}, 10)), 3);  // five rows exist already
  EXPECT_EQ(rows(item({1, 3, kImage, kImage, 7, 9, 9}, 11)), 6);  // another image: two rows exist
  EXPECT_EQ(rows(item({4, 3, kImage, kImage, 7, 8}, 10)), 7);     // none exists
  EXPECT_EQ(rows(item({1, 3, kImage, kImage, 7, 8}, 10)), 1);     // all exist
}

}  // namespace
}  // namespace vpref
