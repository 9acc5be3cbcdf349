// SPDX-License-Identifier: Apache-2.0
// Families on device cuda, whole engine, against transformers: windows and q/k norm (scoring, greedy decoding with
// launch graphs, gradients of a DPO step); towers with windows; rope with three axes; DeepStack rows. On the GPU in a
// CUDA build, else in the fiber executor.
#include <unistd.h>

#include <filesystem>

#include "core/memory.h"
#include "support/families.h"
#include "support/vlm.h"
#ifdef VPREF_FIBER
#include "fiber/stream.h"
#endif

namespace vpref {
namespace {

template <class Param>
class OnDevice : public testing::TestWithParam<Param> {
 protected:
  void SetUp() override {
#ifdef VPREF_FIBER
    fiber::set_deferred(true);
    fiber::set_compares_graphs(true);
#else
    try {
      device_free(Device::cuda, device_alloc(Device::cuda, 64));
    } catch (const Error& e) {
      GTEST_SKIP() << "no CUDA device: " << e.what();
    }
#endif
  }
#ifdef VPREF_FIBER
  void TearDown() override {
    fiber::set_compares_graphs(false);
    fiber::set_deferred(false);
  }
#endif
};

class DeviceFamilies : public OnDevice<const char*> {
 protected:
  DeviceFamilies() { checkpoint.rows.resize(2); }
  EngineOptions options() const {
    EngineOptions o = checkpoint.options();
    o.device = Device::cuda;
    o.batch_tokens = 256;
    o.kv_tokens = 512;
    return o;
  }
  golden::Checkpoint checkpoint{GetParam()};
};

// As in whole_model_test.cc: another order of sums, and the GPU's exp and rsqrt.
constexpr float kTolerance = 1e-3f;

TEST_P(DeviceFamilies, TokenLogpsEqualTheGoldens) {
  Engine engine(options());
  const std::vector<ScoreResult> results = golden::score(engine, checkpoint.score_requests());
  for (size_t i = 0; i < checkpoint.rows.size(); ++i)
    for (size_t a = 0; a < checkpoint.rows[i].answers.size(); ++a)
      golden::expect_close(results[i].segments.at(a).per_token_logps, checkpoint.rows[i].answers[a].logps, kTolerance,
                           cat("row ", i, " answer ", a));
}

TEST_P(DeviceFamilies, GreedyIdsEqualTheGoldens) {
  Engine engine(options());
  const std::vector<GenerateResult> results = golden::generate(engine, checkpoint.greedy_requests());
  for (size_t i = 0; i < checkpoint.rows.size(); ++i) {
    ASSERT_GT(checkpoint.rows[i].margin, 1e-2);
    EXPECT_EQ(results[i].branches.at(0).token_ids, checkpoint.rows[i].greedy) << "row " << i;
  }
}

TEST_P(DeviceFamilies, GradientsEqualTheCpus) {
  const std::string on_cpu = cat(testing::TempDir(), "/families-cpu-", getpid(), ".safetensors"),
                    on_gpu = cat(testing::TempDir(), "/families-cuda-", getpid(), ".safetensors");
  const std::vector<SessionRow> pairs = checkpoint.pairs();
  double losses[2];
  for (const Device device : {Device::cpu, Device::cuda}) {
    Context ctx(device, 2);
    Model model(checkpoint.file("ckpt"), device, DType::f32);
    TrainerOptions trainer = golden::Checkpoint::trainer_options(device == Device::cpu ? 0 : 1);
    trainer.micro_batch_tokens = 256;
    trainer.memory_budget = size_t(64) << 20;
    TrainSession session(ctx, model, trainer, checkpoint.file("adapter"));
    losses[device == Device::cuda] = session.save_gradients(pairs, device == Device::cpu ? on_cpu : on_gpu).loss;
  }
  EXPECT_NEAR(losses[0], losses[1], 1e-5);
  golden::expect_gradients(on_gpu, on_cpu, 2e-4);
  std::filesystem::remove(on_cpu);
  std::filesystem::remove(on_gpu);
}

INSTANTIATE_TEST_SUITE_P(All, DeviceFamilies, testing::Values("own/qwen3-biases", "own/mistral-wide"),
                         [](const auto& param) { return std::string(param.param).substr(4, 5); });

class DeviceVlm : public OnDevice<const char*> {};

TEST_P(DeviceVlm, TokenLogpsWithAnAdapterOnEveryLinearLayerEqualTheGoldens) {
  constexpr size_t kRows = 2;  // the last prompt is long
  const golden::OwnVlm own(GetParam());
  EngineOptions o = own.options();
  o.device = Device::cuda;
  o.batch_tokens = 256;
  o.kv_tokens = 512;
  own.expect_logps(o, "logps", kTolerance, kRows);
  o.adapter_dirs = {own.adapter()};
  own.expect_logps(o, "adapter_logps", kTolerance, kRows);
}

// Decoding replays captured launches for prompts whose images have other crops and positions than those of the capture.
TEST_P(DeviceVlm, SampledIdsEqualTheCpus) {
  const golden::OwnVlm own(GetParam());
  std::vector<GenerateRequest> requests;
  for (const ScoreRequest& r : own.requests(2)) {
    requests.push_back({.prompt = r.segments[0].token_ids, .images = r.images, .max_new_tokens = 6});
    requests.back().num_samples = 2;
  }
  std::vector<std::vector<int32_t>> ids[2];
  for (const Device device : {Device::cpu, Device::cuda}) {
    EngineOptions o = own.options();
    o.device = device;
    o.batch_tokens = 256;
    o.kv_tokens = 512;
    Engine engine(o);
    // In sequence: the second replays the graphs of the first.
    for (const GenerateRequest& request : requests) {
      const std::vector<GenerateResult> results = golden::generate(engine, {request});
      for (const GeneratedBranch& branch : results[0].branches) ids[device == Device::cuda].push_back(branch.token_ids);
    }
  }
  EXPECT_EQ(ids[0], ids[1]);
}

INSTANTIATE_TEST_SUITE_P(All, DeviceVlm, testing::ValuesIn(golden::kOwnVlm),
                         [](const auto& param) { return golden::own_vlm_name(param.param); });

// Rows that the decoder adds after its first layers: in one pass, and in chunks that end inside an image.
class DevicePlanes : public OnDevice<int> {};

TEST_P(DevicePlanes, TokenLogpsAndGreedyIdsEqualTheGoldens) {
  const golden::Checkpoint checkpoint("qwen3_vl");
  const Safetensors pixels(checkpoint.file("golden.safetensors"));
  EngineOptions o = checkpoint.options();
  o.device = Device::cuda;
  o.batch_tokens = GetParam();
  o.kv_tokens = 512;
  o.normalisation = {1.0 / 255.0, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};
  std::vector<ScoreRequest> scored;
  std::vector<GenerateRequest> greedy;
  std::vector<golden::Row> rows;
  for (const golden::Row& row : checkpoint.rows) {
    if (row.id != "v1-wide" && row.id != "v2-tall") continue;
    rows.push_back(row);
    const Image image{.crops = golden::crops_of(pixels.view("pixels_u8/" + row.id))};
    scored.push_back({{{-1, row.prompt, {0}, false}, {0, row.answers[0].ids, {}, true}}, {image}});
    greedy.push_back({.prompt = row.prompt, .images = {image}, .max_new_tokens = 6});
  }
  ASSERT_EQ(rows.size(), 2u);
  Engine engine(o);
  const std::vector<ScoreResult> scores = golden::score(engine, scored);
  const std::vector<GenerateResult> generated = golden::generate(engine, greedy);
  for (size_t i = 0; i < rows.size(); ++i) {
    golden::expect_close(scores[i].segments[0].per_token_logps, rows[i].answers[0].logps, kTolerance, rows[i].id);
    const std::vector<int32_t> first(rows[i].greedy.begin(), rows[i].greedy.begin() + 6);
    EXPECT_EQ(generated[i].branches.at(0).token_ids, first) << rows[i].id;
  }
}

INSTANTIATE_TEST_SUITE_P(All, DevicePlanes, testing::Values(256, 8),
                         [](const auto& param) { return cat("batch_tokens_", param.param); });

}  // namespace
}  // namespace vpref
