// SPDX-License-Identifier: Apache-2.0
// Device cuda against device cpu and the goldens, through the engine's API: loading, scoring, sampling, beams,
// adapters, training, files. A CUDA build uses the GPU. A CPU build uses the fiber executor: the host cannot read its
// device memory, and its queue runs late. An engine that dereferences a device pointer crashes; one that reads or
// changes data too early gets wrong numbers.
// Covers native/backend/cuda/memory.cu native/backend/cuda/gemm.cu native/backend/cuda/packed_linear.cu
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/memory.h"
#include "model/json.h"
#include "model/linear.h"
#include "support/golden.h"
#include "support/three_axes.h"
#include "train/session.h"
#ifdef VPREF_FIBER
#include "fiber/stream.h"
#endif

namespace vpref {
namespace {

using golden::Cases;
using golden::expect_close;

// On the CPU, two orders of summation differ by at most 2e-4 in f32; the GPU's exp and rsqrt add errors in the last
// bits.
constexpr float kF32 = 1e-3f;
constexpr float kMargin = 1e-3f;
// Fibers are about a thousand times slower than a GPU.
#ifdef VPREF_FIBER
constexpr size_t kTrainRows = 1;
constexpr int kTrainSteps = 2;
constexpr int32_t kLongDecode = 24;
#else
constexpr size_t kTrainRows = 4;
constexpr int kTrainSteps = 4;
constexpr int32_t kLongDecode = 100;
#endif

class OnDevice : public testing::Test {
 protected:
  void SetUp() override {
#ifdef VPREF_FIBER
    fiber::set_deferred(true);
    fiber::set_compares_graphs(true);  // every replayed step is compared with its launches
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
  static EngineOptions options(const std::string& model, DType dtype = DType::f32) {
    EngineOptions o = golden::options(model, dtype);
    o.device = Device::cuda;
    o.batch_tokens = 256;
    o.kv_tokens = 2048;
    return o;
  }
};

class DeviceMemory : public OnDevice {};
class DeviceEngine : public OnDevice, public testing::WithParamInterface<const char*> {};
class DeviceRequests : public OnDevice {};
class DeviceTraining : public OnDevice {};
class DeviceGraphs : public OnDevice {};

// --- memory
// ---------------------------------------------------------------------------------------------------------------------

TEST_F(DeviceMemory, CopiesOfEverySizeKeepTheirOrder) {
  Context ctx(Device::cuda);
  // Copies larger than all staging chunks together, and many small ones that share a chunk.
  for (const size_t count : {size_t(1), size_t(1000), size_t(12) << 20}) {
    std::vector<uint32_t> host(count), back(count);
    for (size_t i = 0; i < count; ++i) host[i] = uint32_t(i * 2654435761u);
    const Buffer a(Device::cuda, count * 4), b(Device::cuda, count * 4);
    copy_to_device(ctx, a.data(), host.data(), count * 4);
    const std::vector<uint32_t> expected = host;
    std::fill(host.begin(), host.end(), 0u);  // may be changed at once
    copy_on_device(ctx, b.data(), a.data(), count * 4);
    copy_to_host(ctx, back.data(), b.data(), count * 4);
    EXPECT_TRUE(back == expected) << count;
  }
  const Buffer cells(Device::cuda, 4000 * 4);
  for (uint32_t i = 0; i < 4000; ++i) copy_to_device(ctx, static_cast<uint32_t*>(cells.data()) + i, &i, 4);
  std::vector<uint32_t> back(4000);
  copy_to_host(ctx, back.data(), cells.data(), 16000);
  for (uint32_t i = 0; i < 4000; ++i) ASSERT_EQ(back[i], i);
}

TEST_F(DeviceMemory, ChunksAreWholeUnits) {
  Context ctx(Device::cuda);
  constexpr size_t kUnit = 3000, kUnits = 9000;
  const Buffer to(Device::cuda, kUnit * kUnits);
  size_t next = 0;
  write_to_device(ctx, to.data(), kUnit * kUnits, kUnit, [&](void* piece, size_t begin, size_t count) {
    EXPECT_EQ(begin, next);
    EXPECT_EQ(count % kUnit, 0u);
    for (size_t u = 0; u < count / kUnit; ++u)
      std::memset(static_cast<char*>(piece) + u * kUnit, int((begin / kUnit + u) % 251), kUnit);
    next = begin + count;
  });
  std::vector<unsigned char> back(kUnit * kUnits);
  copy_to_host(ctx, back.data(), to.data(), back.size());
  for (size_t i = 0; i < back.size(); ++i) ASSERT_EQ(back[i], i / kUnit % 251);
}

TEST_F(DeviceMemory, WeightsOfAStackAreAdjacent) {
  Context ctx(Device::cuda);
  Model model(std::string(VPREF_FIXTURES) + "/demo/tiny-llava", Device::cuda, DType::bf16, kClipNormalisation);
  model.prepare(ctx);
  for (const DecoderLayer& l : model.weights.layers) {
    EXPECT_TRUE(stacked(ctx, kQkv.of(l.linears)).weight);
    EXPECT_TRUE(stacked(ctx, kGateUp.of(l.linears)).weight);
  }
}

// --- engine
// ---------------------------------------------------------------------------------------------------------------------

std::vector<ScoreRequest> score_requests(const Cases& cases, int64_t count) {
  std::vector<ScoreRequest> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(cases.score_request(i));
  return out;
}

TEST_P(DeviceEngine, LogpsEqualTheGoldens) {
  const Cases cases(GetParam());
  Engine engine(options(GetParam()));
  const int64_t count = std::min<int64_t>(cases.size(), 4);
  const std::vector<ScoreResult> got = golden::score(engine, score_requests(cases, count));
  for (int64_t i = 0; i < count; ++i)
    expect_close(got[size_t(i)].segments.at(0).per_token_logps, cases.logps(i), kF32, cat("logps of response ", i));
}

// bf16 against the CPU's bf16: the same roundings, in another order.
TEST_P(DeviceEngine, Bf16StaysInItsBand) {
  const Cases cases(GetParam());
  Engine engine(options(GetParam(), DType::bf16));
  const int64_t count = std::min<int64_t>(cases.size(), 4);
  const std::vector<ScoreResult> got = golden::score(engine, score_requests(cases, count));
  double total = 0;
  int64_t tokens = 0;
  for (int64_t i = 0; i < count; ++i) {
    const std::vector<float> expected = cases.logps(i), &logps = got[size_t(i)].segments.at(0).per_token_logps;
    for (size_t t = 0; t < expected.size(); ++t, ++tokens) {
      ASSERT_LE(std::abs(logps[t] - expected[t]), 1.5) << "response " << i << " token " << t;
      total += std::abs(logps[t] - expected[t]);
    }
  }
  EXPECT_LE(total / double(tokens), 0.15);
}

TEST_P(DeviceEngine, GreedyIdsEqualTheGoldens) {
  const Cases cases(GetParam());
  Engine engine(options(GetParam()));
  const Tensor margins = cases["greedy_margins"];
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < std::min<int64_t>(cases.size(), 3); ++i) requests.push_back(cases.generate_request(i, 6));
  const std::vector<GenerateResult> got = golden::generate(engine, requests);
  int64_t compared = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const std::vector<int32_t> expected = golden::ids(cases["greedy_ids"], int64_t(i)),
                               &ids = got[i].branches.at(0).token_ids;
    for (size_t t = 0; t < ids.size(); ++t) {
      if (golden::floats(margins, int64_t(i), t + 1)[t] < kMargin) break;
      ASSERT_EQ(ids[t], expected[t]) << "prompt " << i << " token " << t;
      ++compared;
    }
  }
  EXPECT_GT(compared, 5 * int64_t(got.size()));
}

INSTANTIATE_TEST_SUITE_P(Models, DeviceEngine,
                         testing::Values("tiny-mha", "tiny-gqa", "tiny-llama3", "tiny-text", "tiny-nf4", "tiny-fp4"),
                         [](const auto& info) { return std::string(info.param).substr(5); });

// Random numbers are keyed, so both devices sample the same ids, in one batch and alone.
TEST_F(DeviceRequests, SamplesEqualTheCpus) {
  const Cases cases("tiny-mha");
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < 3; ++i) {
    GenerateRequest r = cases.generate_request(i % 2, 5);  // the third shares the first one's prefix
    r.sampling.temperature = 0.8f;
    r.sampling.top_p = 0.9f;
    r.sampling.seed = 11;
    r.num_samples = 2;
    requests.push_back(std::move(r));
  }
  Engine cpu(golden::options("tiny-mha")), cuda(options("tiny-mha"));
  const auto expected = golden::generate(cpu, requests), got = golden::generate(cuda, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    for (size_t b = 0; b < 2; ++b) {
      EXPECT_EQ(got[i].branches[b].token_ids, expected[i].branches[b].token_ids) << i << " " << b;
      if (got[i].branches[b].token_ids == expected[i].branches[b].token_ids) {
        expect_close(got[i].branches[b].per_token_logps, expected[i].branches[b].per_token_logps, kF32,
                     cat("request ", i, " branch ", b));
      }
    }
  }
  EXPECT_EQ(golden::generate(cuda, {requests[0]})[0].branches[1].token_ids, got[0].branches[1].token_ids);
}

TEST_F(DeviceRequests, BeamsEqualTheGoldens) {
  const Cases cases("tiny-mha");
  Engine engine(options("tiny-mha"));
  GenerateRequest request = cases.generate_request(cases["beam_rows"].as<int32_t>()[0], 12);
  request.num_beams = 5;
  request.eos_token_ids.assign(cases["beam_eos"].as<int32_t>(),
                               cases["beam_eos"].as<int32_t>() + cases["beam_eos"].dim(0));
  EXPECT_EQ(golden::generate(engine, {request})[0].branches.at(0).token_ids, golden::ids(cases["beam_ids"], 0));
}

TEST_F(DeviceRequests, StackedAdaptersEqualPeft) {
  const Cases cases("tiny-mha");
  const Safetensors expected(golden::fixture("golden/models/adapters.safetensors"));
  EngineOptions o = options("tiny-mha");
  for (const char* c : {"a", "b"})
    o.adapter_dirs.push_back(golden::fixture(std::string("golden/models/adapters/") + c));
  Engine engine(o);
  const Tensor logps = expected.view("logps_ab");
  const auto got = golden::score(engine, {cases.score_request(0)});
  expect_close(got[0].segments.at(0).per_token_logps, golden::floats(logps, 0, cases.response(0).size()), kF32,
               "adapters");
}

// Packed at load: scoring, and decoding with captured and replayed steps.
TEST_F(DeviceRequests, PackedBasesEqualTheCpus) {
  const Cases cases("tiny-text");
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < 2; ++i) requests.push_back(cases.generate_request(i, 6));
  for (const Packing packing : {Packing::nf4, Packing::int8}) {
    EngineOptions on_cpu = golden::options("tiny-text"), on_cuda = options("tiny-text");
    on_cpu.packing = on_cuda.packing = packing;
    Engine cpu(on_cpu), cuda(on_cuda);
    const auto expected = golden::generate(cpu, requests), got = golden::generate(cuda, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      const GeneratedBranch &e = expected[i].branches.at(0), &g = got[i].branches.at(0);
      EXPECT_EQ(g.token_ids, e.token_ids) << packing_name(packing);
      expect_close(g.per_token_logps, e.per_token_logps, kF32, cat(packing_name(packing), ", prompt ", i));
    }
    const auto scored = golden::score(cpu, {cases.score_request(0)}),
               there = golden::score(cuda, {cases.score_request(0)});
    expect_close(there[0].segments.at(0).per_token_logps, scored[0].segments.at(0).per_token_logps, kF32,
                 cat(packing_name(packing), ", scored"));
  }
}

// --- captured steps
// ---------------------------------------------------------------------------------------------------------------

struct StepCounts {
  int64_t steps = 0, captured = 0, replayed = 0;
};

// The engine's counts after everything before is done.
StepCounts step_counts(Engine& engine) {
  std::promise<void> done;
  engine.run([](Context&, Model&) {}, [&](auto) { done.set_value(); });
  done.get_future().get();
  const std::string plan = engine.memory_plan();
  const size_t at = plan.find("decoding steps: ");
  StepCounts c;
  long long steps = 0, captured = 0, replayed = 0;
  EXPECT_TRUE(at != std::string::npos &&
              std::sscanf(plan.c_str() + at, "decoding steps: %lld, %lld captured, %lld replayed", &steps, &captured,
                          &replayed) == 3)
      << plan;
  EXPECT_EQ(plan.find("none more are captured"), std::string::npos) << plan;
  return {steps, captured, replayed};
}

void expect_same_bytes(const std::vector<GenerateResult>& got, const std::vector<GenerateResult>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].branches.size(), expected[i].branches.size());
    for (size_t b = 0; b < got[i].branches.size(); ++b) {
      const GeneratedBranch &g = got[i].branches[b], &e = expected[i].branches[b];
      EXPECT_EQ(g.token_ids, e.token_ids) << i << " " << b;
      EXPECT_TRUE(g.per_token_logps.size() == e.per_token_logps.size() &&
                  std::memcmp(g.per_token_logps.data(), e.per_token_logps.data(),
                              g.per_token_logps.size() * sizeof(float)) == 0)
          << i << " " << b;
    }
  }
}

// Groups of branches that end at different times, sampled at a temperature; requests that join while others decode,
// also greedy ones.
std::vector<GenerateRequest> uneven_requests(const Cases& cases, int32_t tokens) {
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < 5; ++i) {
    GenerateRequest r = cases.generate_request(i % 3, tokens - 7 * int32_t(i % 2));
    r.sampling.temperature = i == 2 ? 0.0f : 0.9f;
    r.sampling.top_p = i == 1 ? 0.8f : 1.0f;
    r.sampling.top_k = i == 3 ? 20 : 0;
    r.sampling.seed = 5 + uint64_t(i);
    r.num_samples = i == 2 ? 1 : 2;
    r.eos_token_ids = {int32_t(40 + i), int32_t(140 + i), int32_t(240 + i)};  // sampled occasionally
    requests.push_back(std::move(r));
  }
  return requests;
}

// Long enough that its keys are soon cut into parts.
GenerateRequest long_request(const Cases& cases) {
  GenerateRequest r = cases.generate_request(0, kLongDecode);
  while (r.prompt.size() < 120) r.prompt.push_back(int32_t(r.prompt.size() % 90 + 10));
  return r;
}

TEST_F(DeviceGraphs, ReplayedStepsGiveTheSameBytes) {
  const Cases cases("tiny-mha");
  for (const DType dtype : {DType::f32, DType::bf16}) {
    EngineOptions o = options("tiny-mha", dtype);
    for (const char* c : {"a", "b"})
      o.adapter_dirs.push_back(golden::fixture(std::string("golden/models/adapters/") + c));
    o.kv_tokens = 700;  // not all requests fit at the same time: some join after others have ended
    std::vector<std::vector<GenerateResult>> results[2];
    for (const bool on : {false, true}) {
      o.launch_graphs = on;
      Engine engine(o);
      const auto adapters = [&](bool enabled) {
        engine.run(
            [enabled](Context& ctx, Model& model) {
              ctx.workspace.get(2 * ctx.workspace.capacity());  // as training may
              for (DecoderLayer& l : model.weights.layers)
                for (Linear& p : l.linears)
                  for (LoraPair& pair : p.adapters) pair.enabled = enabled;
            },
            [](auto) {});
      };
      const auto run = [&](const std::vector<GenerateRequest>& requests) {
        results[on].push_back(golden::generate(engine, requests));
      };
      // Each item of the signature changes separately: rows, lists, adapters, workspace, the cache by a request that
      // needs more rows, the arena by a tree larger than a step.
      const std::vector<GenerateRequest> alone{long_request(cases)},
          two{cases.generate_request(0, kLongDecode), cases.generate_request(1, kLongDecode / 2)};
      run(two);
      run(alone);
      run(uneven_requests(cases, kLongDecode));
      run(alone);
      adapters(false);
      run(uneven_requests(cases, kLongDecode));
      adapters(true);
      run(two);
      run(alone);
      GenerateRequest many = cases.generate_request(0, kLongDecode);
      many.num_samples = int32_t(o.kv_tokens) / (kLongDecode - 1);
      for (int32_t id = 0; id < engine.info().vocab_size; ++id)
        many.eos_token_ids.push_back(id);  // each ends at its first token
      run({many});
      run(alone);
      ScoreRequest large = cases.score_request(0);
      while (large.segments[0].token_ids.size() + large.segments[1].token_ids.size() < size_t(o.batch_tokens) + 20)
        large.segments[1].token_ids.push_back(50);
      golden::score(engine, {large});
      run(alone);
      const StepCounts c = step_counts(engine);
      if (on) {
        EXPECT_GT(2 * c.replayed, c.steps) << c.replayed << " replayed, " << c.captured << " captured of " << c.steps;
        EXPECT_LT(5 * c.captured, c.steps) << c.captured;
        RecordProperty(dtype_name(dtype), cat(c.replayed, " replayed, ", c.captured, " captured of ", c.steps));
      } else {
        EXPECT_EQ(c.captured + c.replayed, 0);
      }
    }
    for (size_t i = 0; i < results[0].size(); ++i) expect_same_bytes(results[1][i], results[0][i]);
    EXPECT_NE(results[0][2][0].branches[0].per_token_logps,
              results[0][4][0].branches[0].per_token_logps);  // with adapters and without
    expect_same_bytes(results[0][5], results[0][0]);
  }
}

// --- requests
// ---------------------------------------------------------------------------------------------------------------------

// Positions on three axes, other than row counts: prefill, captured and replayed steps, scoring.
TEST_F(DeviceRequests, PositionsOnThreeAxesEqualTheCpus) {
  golden::ThreeAxes cpu, device(Device::cuda);
  std::vector<GenerateRequest> requests = golden::sampled(cpu);
  requests.erase(requests.begin(), requests.end() - 2);
  for (GenerateRequest& r : requests) r.sampling.temperature = 0;
  const std::vector<GenerateResult> expected = cpu.generate(requests, 256), got = device.generate(requests, 256);
  for (size_t i = 0; i < requests.size(); ++i) {
    const GeneratedBranch &a = got[i].branches[0], &b = expected[i].branches[0];
    EXPECT_EQ(a.token_ids, b.token_ids);
    expect_close(a.per_token_logps, b.per_token_logps, kF32, cat("sampled, prompt ", i));
    expect_close(device.score(requests[i], expected[i]).segments[0].per_token_logps, b.per_token_logps, kF32,
                 cat("scored, prompt ", i));
  }
}

TEST_F(DeviceRequests, APlanThatDoesNotFitNamesTheFlagToLower) {
  EngineOptions o = options("tiny-mha");
  o.kv_tokens = 0;
  o.batch_tokens = int64_t(1) << 40;
  Engine engine(o);
  try {
    golden::score(engine, {Cases("tiny-mha").score_request(0)});
    FAIL() << "a step of 2^40 rows was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "model");
    EXPECT_NE(std::string(e.what()).find("--batch-tokens"), std::string::npos) << e.what();
  }
}

// Unique to this process, because the same test may run in parallel.
std::string temporary(const char* name) { return cat(testing::TempDir(), "/vpref-", getpid(), "-", name); }

// --- training
// -------------------------------------------------------------------------------------------------------------------

const std::string kGolden = std::string(VPREF_FIXTURES) + "/golden/train";

const Json& at(const Json& object, const std::string& key) { return *object.find(key); }

std::vector<int32_t> ids_of(const Json& list) {
  std::vector<int32_t> ids;
  for (const Json& id : list.array()) ids.push_back(int32_t(id.number()));
  return ids;
}

// The golden pairs: prompt with an image of 64 rows, chosen, first rejected.
std::vector<SessionRow> golden_rows(size_t count) {
  const Json json = read_json_file(kGolden + "/rows.json");
  const Safetensors images(kGolden + "/images.safetensors");
  std::vector<SessionRow> rows;
  for (size_t n = 0; n < std::min(count, at(json, "rows").array().size()); ++n) {
    const Json& from = at(json, "rows").array()[n];
    SessionRow s;
    s.row.id = at(from, "id").string();
    s.row.num_rejected = 1;
    s.row.segments = {{.parent = -1, .token_ids = ids_of(at(from, "prompt")), .images = {0}},
                      {.parent = 0, .token_ids = ids_of(at(from, "chosen")), .branch = 0},
                      {.parent = 0, .token_ids = ids_of(at(from, "rejected").array()[0]), .branch = 1}};
    for (size_t k = 0; k < 2; ++k) s.row.ref.push_back(at(json, "reference").array()[n].array()[k].number());
    s.images = {golden::image(images.view("image." + std::to_string(n)).reshaped({1, 128, 128, 3}), 0)};
    rows.push_back(std::move(s));
  }
  return rows;
}

TrainerOptions train_options() {
  TrainerOptions o;
  o.loss = parse_losses("sigmoid");
  o.trainable.lora_r = 4;
  o.trainable.lora_alpha = 8;
  o.lr = 1e-3;
  o.total_steps = 10;
  o.micro_batch_tokens = 512;
  return o;
}

struct Training {
  Context ctx;
  Model model;
  TrainSession session;
  Training(Device device, DType dtype, TrainerOptions o, Packing packing = Packing::none)
      : ctx(device, 1),
        model(std::string(VPREF_FIXTURES) + "/demo/tiny-llava", device, dtype, kClipNormalisation),
        session(ctx, packed(packing), std::move(o), kGolden + "/adapter") {}

 private:
  Model& packed(Packing packing) {
    model.pack_base(packing);
    return model;
  }
};

double relative_difference(const Tensor& got, const Tensor& want) {
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < got.numel(); ++i) {
    const double d = double(got.as<float>()[i]) - double(want.as<float>()[i]);
    difference += d * d;
    norm += double(want.as<float>()[i]) * double(want.as<float>()[i]);
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

TEST_F(DeviceTraining, GradientsEqualTheCpus) {
  for (const int level : {0, 3}) {
    TrainerOptions o = train_options();
    o.recompute = level;
    o.trainable.projector = true;
    Training cpu(Device::cpu, DType::f32, o), cuda(Device::cuda, DType::f32, o);
    const std::vector<SessionRow> rows = golden_rows(kTrainRows);
    const std::string a = temporary("cpu.safetensors"), b = temporary("cuda.safetensors");
    const StepResult expected = cpu.session.save_gradients(rows, a), got = cuda.session.save_gradients(rows, b);
    EXPECT_NEAR(got.loss, expected.loss, 1e-4);
    EXPECT_NEAR(got.grad_norm, expected.grad_norm, 2e-3 * expected.grad_norm);
    const Safetensors want(a), have(b);
    ASSERT_EQ(have.tensors().size(), want.tensors().size());
    for (const auto& [name, stored] : want.tensors())
      EXPECT_LE(relative_difference(have.view(name), want.view(name)), 2e-3) << "level " << level << " " << name;
    std::filesystem::remove(a);
    std::filesystem::remove(b);
  }
}

TEST_F(DeviceTraining, GradientsOnAPackedBaseEqualTheCpus) {
  Training cpu(Device::cpu, DType::f32, train_options(), Packing::nf4),
      cuda(Device::cuda, DType::f32, train_options(), Packing::nf4);
  const std::vector<SessionRow> rows = golden_rows(kTrainRows);
  const std::string a = temporary("cpu-packed.safetensors"), b = temporary("cuda-packed.safetensors");
  EXPECT_NEAR(cuda.session.save_gradients(rows, b).loss, cpu.session.save_gradients(rows, a).loss, 1e-4);
  const Safetensors want(a), have(b);
  ASSERT_EQ(have.tensors().size(), want.tensors().size());
  for (const auto& [name, stored] : want.tensors())
    EXPECT_LE(relative_difference(have.view(name), want.view(name)), 2e-3) << name;
  std::filesystem::remove(a);
  std::filesystem::remove(b);
}

// A few steps, saved, then one more in a new session: the losses and the adapter equal the CPU's.
TEST_F(DeviceTraining, StepsAndStateEqualTheCpus) {
  const std::vector<SessionRow> rows = golden_rows(kTrainRows);
  const std::string state = temporary("state.safetensors"), adapter = temporary("adapter.safetensors");
  Training cpu(Device::cpu, DType::f32, train_options());
  std::vector<double> expected;
  for (int i = 0; i <= kTrainSteps; ++i) expected.push_back(cpu.session.step(rows).loss);
  {
    Training cuda(Device::cuda, DType::f32, train_options());
    for (int i = 0; i < kTrainSteps; ++i)
      EXPECT_NEAR(cuda.session.step(rows).loss, expected[size_t(i)], 2e-4) << "step " << i;
    cuda.session.save_state(state);
  }
  Training resumed(Device::cuda, DType::f32, train_options());
  resumed.session.restore(state);
  EXPECT_EQ(resumed.session.steps_done(), kTrainSteps);
  EXPECT_NEAR(resumed.session.step(rows).loss, expected.back(), 2e-4);
  resumed.session.save_adapter(adapter);
  const std::string cpu_adapter = temporary("adapter-cpu.safetensors");
  cpu.session.save_adapter(cpu_adapter);
  const Safetensors have(adapter), want(cpu_adapter);
  for (const auto& [name, stored] : want.tensors())
    EXPECT_LE(relative_difference(have.view(name), want.view(name)), 2e-2) << name;
  for (const std::string& file : {state, adapter, cpu_adapter}) std::filesystem::remove(file);
}

// bf16 weights, f32 master values: the loss falls as in f32, and the reward at step 0 is 0 within rounding.
TEST_F(DeviceTraining, Bf16LearnsLikeF32) {
  std::vector<SessionRow> rows = golden_rows(kTrainRows);
  Training cpu(Device::cpu, DType::f32, train_options()), cuda(Device::cuda, DType::bf16, train_options());
  for (Training* run : {&cpu, &cuda}) {
    const auto reference = run->session.score(rows, /*adapter_on=*/true);
    for (size_t i = 0; i < rows.size(); ++i) rows[i].row.ref = reference[i].policy;
    const double first = run->session.step(rows).loss;
    EXPECT_NEAR(first, std::log(2.0), run == &cpu ? 1e-6 : 1e-3);
    EXPECT_LT(run->session.step(rows).loss, first);
  }
}

TEST_F(DeviceTraining, APlanThatDoesNotFitNamesTheBatchThatWould) {
  const auto message = [](TrainerOptions o) {
    try {
      Training run(Device::cuda, DType::bf16, std::move(o));
    } catch (const Error& e) {
      return e.code() + ": " + e.what();
    }
    return std::string("it was taken");
  };
  TrainerOptions long_batch = train_options();
  long_batch.micro_batch_tokens = int64_t(1) << 34;
  const std::string tokens = message(long_batch);
  EXPECT_TRUE(tokens.starts_with("memory: ")) << tokens;
  EXPECT_NE(tokens.find("--batch-tokens"), std::string::npos) << tokens;
  TrainerOptions no_room = train_options();
  no_room.memory_budget = 1;
  EXPECT_NE(message(no_room).find("lower --lora-r"), std::string::npos);
}

#ifdef VPREF_FIBER
// Makes sure that the tests above can fail.
TEST(FiberDevice, HostAccessDies) {
  const Buffer buffer(Device::cuda, 4096);
  EXPECT_DEATH({ *static_cast<volatile char*>(buffer.data()) = 1; }, "host code touched device memory");
}

TEST(FiberDevice, QueuedWorkRunsWhenTheHostWaits) {
  fiber::set_deferred(true);
  Context ctx(Device::cuda);
  const Buffer buffer(Device::cuda, 64);
  copy_to_device(ctx, buffer.data(), "0123456789", 10);
  int done = 0;
  fiber::enqueue([&] { ++done; });
  EXPECT_EQ(done, 0);
  char back[10];
  copy_to_host(ctx, back, buffer.data(), 10);
  EXPECT_EQ(done, 1);
  EXPECT_EQ(std::string(back, 10), "0123456789");
  fiber::set_deferred(false);
}
#endif

}  // namespace
}  // namespace vpref
