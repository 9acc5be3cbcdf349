// SPDX-License-Identifier: Apache-2.0
// Times the engine on a random LLaVA checkpoint.
//   bench_engine make DIR                       writes a 157M-parameter checkpoint (f32), 256 image rows
//   bench_engine TASK DIR [THREADS] [ROUNDS]    TASK: prefill, decode1, decode8, score; one JSON line per task on stdout
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "core/philox.h"
#include "infer/engine.h"
#include "model/families/family.h"
#include "model/json.h"
#include "model/safetensors.h"

namespace {

using namespace vpref;

constexpr int32_t kPromptTokens = 320, kResponseTokens = 16, kPairs = 32, kPrompts = 8, kNewTokens = 48;

constexpr const char* kConfig = R"({
  "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": 31999, "image_seq_length": 256,
  "projector_hidden_act": "gelu", "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "tie_word_embeddings": false,
  "text_config": {"model_type": "llama", "vocab_size": 32000, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12,
    "num_attention_heads": 12, "num_key_value_heads": 12, "head_dim": 64, "max_position_embeddings": 2048, "rms_norm_eps": 1e-05, "hidden_act": "silu",
    "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false, "rope_theta": 10000.0},
  "vision_config": {"model_type": "clip_vision_model", "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 7,
    "num_attention_heads": 8, "image_size": 224, "patch_size": 14, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05, "projection_dim": 512}
})";

// Uniform weights of variance 1 / inputs, from Philox keyed by the tensor's number.
void fill(std::vector<float>& x, uint64_t key, float scale) {
  for (size_t i = 0; i < x.size(); i += 4) {
    const auto w = philox4x32(key, {uint32_t(i / 4), 0, 0, 0});
    for (size_t k = 0; k < 4 && i + k < x.size(); ++k) x[i + k] = scale * (float(w[k]) * 0x1p-32f - 0.5f) * 3.4641016f;
  }
}

void make(const std::string& dir) {
  std::filesystem::create_directories(dir);
  std::ofstream(dir + "/config.json") << kConfig;
  const Json json = Json::parse(kConfig, "config");
  const ConfigReader reader(json, "config");
  const Family& family = find_family(reader);
  const ModelConfig config = family.parse_config(reader);
  Weights weights;
  const FamilyTensors list = family.list_tensors(config, weights);
  std::vector<std::vector<float>> data;
  std::vector<std::pair<std::string, Tensor>> tensors;
  data.reserve(list.tensors.size());
  for (const TensorSpec& spec : list.tensors) {
    int64_t count = 1;
    for (const int64_t n : spec.stored_shape) count *= n;
    std::vector<float>& x = data.emplace_back(size_t(count));
    const bool matrix = spec.stored_shape.size() > 1;
    fill(x, data.size(), matrix ? 1.0f / std::sqrt(float(count) / float(spec.stored_shape[0])) : 0.1f);
    if (!matrix && spec.name.ends_with("norm.weight")) {
      for (float& v : x) v += 1;
    }
    Tensor t(x.data(), DType::f32, {count});
    t.rank = int(spec.stored_shape.size());
    int64_t stride = 1;
    for (int i = t.rank - 1; i >= 0; --i) {
      t.shape[size_t(i)] = spec.stored_shape[size_t(i)];
      t.stride[size_t(i)] = stride;
      stride *= spec.stored_shape[size_t(i)];
    }
    tensors.emplace_back(list.groups[size_t(spec.group)].prefixes.front() + spec.name, t);
  }
  write_safetensors(dir + "/model.safetensors", tensors, {{"format", "pt"}});
}

// The same ids and pixels as hf_baseline.py.
std::vector<int32_t> prompt_ids(int32_t i) {
  std::vector<int32_t> ids = {1};
  ids.insert(ids.end(), 256, 31999);
  while (int32_t(ids.size()) < kPromptTokens) ids.push_back(100 + (i * 997 + int32_t(ids.size()) * 31) % 30000);
  return ids;
}
std::vector<int32_t> response_ids(int32_t i) {
  std::vector<int32_t> ids;
  for (int32_t t = 0; t < kResponseTokens; ++t) ids.push_back(100 + (i * 131 + t * 17) % 30000);
  return ids;
}
Image picture(int32_t i) {
  Image image;
  image.height = image.width = 224;
  for (int32_t k = 0; k < 224 * 224 * 3; ++k) image.pixels.push_back(uint8_t((k * 7 + i * 13) % 251));
  return image;
}

// Wall and processor time; on a busy machine only the second says something.
struct Time {
  double wall = 0, cpu = 0;
  Time operator-(const Time& o) const { return {wall - o.wall, cpu - o.cpu}; }
  Time operator/(double n) const { return {wall / n, cpu / n}; }
};
Time now() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return {std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(), double(t.tv_sec) + 1e-9 * double(t.tv_nsec)};
}

template <class Result, class Send>
Time timed(Engine& engine, int32_t count, Send send) {
  std::vector<std::future<Outcome<Result>>> futures;
  const Time begin = now();
  engine.hold(true);
  for (int32_t i = 0; i < count; ++i) {
    auto promise = std::make_shared<std::promise<Outcome<Result>>>();
    futures.push_back(promise->get_future());
    send(i, [promise](Outcome<Result> outcome) { promise->set_value(std::move(outcome)); });
  }
  engine.hold(false);
  for (auto& f : futures) {
    const Outcome<Result> outcome = f.get();
    if (const Error* e = std::get_if<Error>(&outcome)) throw *e;
  }
  return now() - begin;
}

// Images differ from round to round, so that nothing is taken from a cache.
Time generate(Engine& engine, int32_t round, int32_t prompts, int32_t tokens) {
  return timed<GenerateResult>(engine, prompts, [&](int32_t i, auto done) {
    GenerateRequest r;
    r.prompt = prompt_ids(i);
    r.images = {picture(i + 100 * round)};
    r.max_new_tokens = tokens;
    r.eos_token_ids = {1 << 30};
    engine.generate(std::move(r), done);
  });
}

// The least of several rounds, of a whole and of the part of it that is not the task's (the prompts before a decode).
struct Best {
  Time whole{INFINITY, INFINITY}, part{INFINITY, INFINITY};
  static Time least(Time a, Time b) { return {std::min(a.wall, b.wall), std::min(a.cpu, b.cpu)}; }
};

// Round 0 only warms up: a few pairs of scoring are enough for it. Adds to `best`; returns the units in a whole.
int32_t run_task(Engine& engine, const std::string& task, int32_t round, Best& best) {
  if (task == "prefill") {
    best.whole = Best::least(best.whole, generate(engine, round, kPrompts, 1));
    best.part = {};
    return kPrompts;
  }
  if (task == "decode1" || task == "decode8") {
    const int32_t batch = task == "decode1" ? 1 : 8;
    best.part = Best::least(best.part, generate(engine, 2 * round, batch, 1));
    best.whole = Best::least(best.whole, generate(engine, 2 * round + 1, batch, kNewTokens));
    return kNewTokens - 1;
  }
  if (task == "score") {
    const int32_t pairs = round == 0 ? 4 : kPairs;
    best.part = {};
    const Time t = timed<ScoreResult>(engine, pairs, [&](int32_t i, auto done) {
      ScoreRequest r;
      r.images = {picture(i + 100 * round)};
      r.segments = {{-1, prompt_ids(i), {0}, false}, {0, response_ids(2 * i), {}, true}, {0, response_ids(2 * i + 1), {}, true}};
      engine.score(std::move(r), done);
    });
    best.whole = Best::least(best.whole, t);
    return pairs;
  }
  throw Error("request", "task: expected prefill, decode1, decode8 or score, got " + task);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: bench_engine make DIR | bench_engine prefill|decode1|decode8|score DIR [THREADS] [ROUNDS]\n";
    return 2;
  }
  try {
    if (std::string(argv[1]) == "make") {
      make(argv[2]);
      return 0;
    }
    EngineOptions options;
    options.model_dir = argv[2];
    options.threads = argc > 3 ? std::stoi(argv[3]) : 2;
    const int rounds = argc > 4 ? std::stoi(argv[4]) : 3;
    Engine engine(options);
    Best warm, best;
    run_task(engine, argv[1], 0, warm);
    int32_t units = 1;
    for (int r = 1; r <= rounds; ++r) units = run_task(engine, argv[1], r, best);
    const Time t = (best.whole - best.part) / units;
    std::printf("{\"engine\":\"vpref\",\"task\":\"%s\",\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"threads\":%d,\"parameters\":%lld}\n", argv[1], t.wall, t.cpu,
                options.threads, static_cast<long long>(engine.facts().num_parameters));
  } catch (const Error& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
