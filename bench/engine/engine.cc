// SPDX-License-Identifier: Apache-2.0
// Times the engine on a random checkpoint.
//   bench_engine make DIR [--shape S]                writes it: 157m (the default), a LLaVA of 157M parameters in f32,
//                                                    256 image rows; qwen2.5-vl, as many; 7b, 13b, the sizes of
//                                                    LLaVA-1.5, and qwen2.5-vl-7b, as files with holes; 7b-profile,
//                                                    two layers of 7b; tiny
//   bench_engine open DIR                            opens a model; no weight is read
//   bench_engine first DIR [THREADS]                 one token after a text prompt of three (lazy_load.py)
//   bench_engine TASK DIR [THREADS] [ROUNDS] [--shape S] [--device cuda] [--dtype bf16] [--quantize nf4|int8]
//                [--text N] [--plain TASK]
//   bench_engine ids DIR [THREADS] [the same options]   the greedy tokens of one prompt of text
// TASK: prefill (8 prompts, 64 on a GPU), prefill1, decode1, decode8, decode64 (prompts of one branch each), group64
// (16 prompts of 4 branches), score; several with commas: one model.
// --text: prompts are N ids without a picture (llama_peer.py).
// --plain: these again, or after `none` these alone, with every kernel launched by itself instead of recorded steps
// (CUDA). One JSON line a task on stdout: seconds of one prompt, token step or pair, and the operations or bytes it
// needs.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <future>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../support/random_model.h"
#include "infer/engine.h"
#include "model/json.h"

namespace {

using namespace vpref;
using bench::Shape;

#ifdef VPREF_FIBER  // some thousand times slower than a GPU: to try the bench itself
constexpr int32_t kPairs = 4, kNewTokens = 4;
#else
constexpr int32_t kPairs = 32, kNewTokens = 48;
#endif

// Wall and processor time; on a busy machine only the second says something.
struct Time {
  double wall = 0, cpu = 0;
  Time operator-(const Time& o) const { return {wall - o.wall, cpu - o.cpu}; }
  Time operator/(double n) const { return {wall / n, cpu / n}; }
};
Time now() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return {std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(),
          double(t.tv_sec) + 1e-9 * double(t.tv_nsec)};
}

template <class Result, class Send>
Time timed(Engine& engine, int32_t count, Send send) {
  std::vector<std::future<Outcome<Result>>> futures;
  const Time begin = now();
  engine.pace(true);
  for (int32_t i = 0; i < count; ++i) {
    auto promise = std::make_shared<std::promise<Outcome<Result>>>();
    futures.push_back(promise->get_future());
    send(i, [promise](Outcome<Result> outcome) { promise->set_value(std::move(outcome)); });
  }
  engine.pace(false);
  for (auto& f : futures) {
    const Outcome<Result> outcome = f.get();
    if (const Error* e = std::get_if<Error>(&outcome)) throw *e;
  }
  return now() - begin;
}

// Images (or words) differ from round to round, so that nothing is taken from a cache.
GenerateRequest prompt_request(const Shape& s, int32_t round, int32_t i, int32_t branches, int32_t tokens) {
  GenerateRequest r;
  r.prompt = prompt_ids(s, s.image_rows > 0 ? i : i + 100 * round);
  if (s.image_rows > 0) r.images = {picture(s, i + 100 * round)};
  r.num_samples = branches;
  r.sampling.temperature = branches > 1 ? 1.0f : 0.0f;
  r.max_new_tokens = tokens;
  r.eos_token_ids = {1 << 30};
  return r;
}

Time prefill(Engine& engine, const Shape& s, int32_t round, int32_t prompts) {
  return timed<GenerateResult>(engine, prompts,
                               [&](int32_t i, auto done) { engine.generate(prompt_request(s, round, i, 1, 1), done); });
}

// From the moment when every branch has its first token. A prompt of one token that wants one token tells it: prompts
// that wait together are prefilled in one step, and it ends with that step.
Time decode(Engine& engine, const Shape& s, int32_t round, int32_t prompts, int32_t branches) {
  const auto first = std::make_shared<Time>();
  timed<GenerateResult>(engine, prompts + 1, [&](int32_t i, auto done) {
    if (i < prompts) {
      engine.generate(prompt_request(s, round, i, branches, kNewTokens), done);
      return;
    }
    GenerateRequest r;
    r.prompt = {1};
    r.max_new_tokens = 1;
    engine.generate(std::move(r), [first, done](Outcome<GenerateResult> outcome) {
      *first = now();
      done(std::move(outcome));
    });
  });
  return now() - *first;
}

struct Task {
  std::string name;
  int32_t prompts, branches;  // of generation
};

Task task_named(const std::string& name, bool cuda) {
  if (name == "prefill") return {name, cuda ? 64 : 8, 1};
  if (name == "prefill1") return {name, 1, 1};
  if (name == "decode1") return {name, 1, 1};
  if (name == "decode8") return {name, 8, 1};
  if (name == "decode64") return {name, 64, 1};
  if (name == "group64") return {name, 16, 4};
  if (name == "score") return {name, kPairs, 0};
  throw Error("request", "task: expected prefill, prefill1, decode1, decode8, decode64, group64 or score, got " + name);
}

Time least(Time a, Time b) { return {std::min(a.wall, b.wall), std::min(a.cpu, b.cpu)}; }

// Time of one unit of the task. Round 0 only warms up: a few pairs of scoring are enough for it.
Time run_task(Engine& engine, const Shape& s, const Task& task, int32_t round) {
  if (task.name.starts_with("prefill")) return prefill(engine, s, round, task.prompts) / task.prompts;
  if (task.branches > 0) return decode(engine, s, round, task.prompts, task.branches) / (kNewTokens - 1);
  const int32_t pairs = round == 0 ? 4 : kPairs;
  const Time t = timed<ScoreResult>(engine, pairs, [&](int32_t i, auto done) {
    ScoreRequest r;
    r.images = {picture(s, i + 100 * round)};
    r.segments = {{-1, prompt_ids(s, i), {0}, false},
                  {0, answer_ids(s, 2 * i), {}, true},
                  {0, answer_ids(s, 2 * i + 1), {}, true}};
    engine.score(std::move(r), done);
  });
  return t / pairs;
}

// Multiplications and additions of one unit of the task, and the bytes a token step must read: weights once, each
// prefix once, each branch's own rows.
struct Floor {
  double flops = 0, bytes = 0;
};
Floor floor_of(const bench::Sizes& n, const Shape& s, const Task& task, double weights, DType dtype) {
  if (task.name.starts_with("prefill")) return {2 * n.linears * s.prompt + n.image, 0};
  if (task.name == "score") return {2 * n.linears * (s.prompt + 2 * s.answer) + 2 * n.head * 2 * s.answer + n.image, 0};
  const double rows = double(task.prompts) * (s.prompt + task.branches * kNewTokens / 2.0);
  return {0, weights + double(dtype_size(dtype)) * rows * n.kv_row};
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

// Of the decoder's linears and the head, as they are stored: what a token step reads whatever its rows.
int64_t weight_bytes(const Model& model) {
  const auto of = [](const Linear& l) { return l.packed ? l.packed.bytes() : l.weight.bytes(); };
  size_t bytes = of(model.weights.lm_head);
  for (const DecoderLayer& layer : model.weights.layers)
    for (const Linear& l : layer.linears) bytes += of(l);
  return int64_t(bytes);
}

// The greedy tokens of prompt 0.
void print_ids(const EngineOptions& options, const Shape& shape) {
  constexpr int32_t kTokens = 64;
  Engine engine(options);
  std::promise<Outcome<GenerateResult>> promise;
  GenerateRequest r;
  r.prompt = prompt_ids(shape, 0);
  if (shape.image_rows > 0) r.images = {picture(shape, 0)};
  r.max_new_tokens = kTokens;
  r.eos_token_ids = {1 << 30};
  engine.generate(std::move(r), [&](Outcome<GenerateResult> outcome) { promise.set_value(std::move(outcome)); });
  const Outcome<GenerateResult> outcome = promise.get_future().get();
  if (const Error* e = std::get_if<Error>(&outcome)) throw *e;
  std::printf("{\"engine\":\"vpref\",\"ids\":[");
  const std::vector<int32_t>& ids = std::get<GenerateResult>(outcome).branches.front().token_ids;
  for (size_t i = 0; i < ids.size(); ++i) std::printf(i == 0 ? "%d" : ",%d", ids[i]);
  std::printf("]}\n");
}

// What a program pays before its first result.
void start(const EngineOptions& options, bool first_token) {
  Engine engine(options);
  if (first_token) {
    timed<GenerateResult>(engine, 1, [&](int32_t, auto done) {
      GenerateRequest r;
      r.prompt = {1, 100, 200};
      r.max_new_tokens = 1;
      engine.generate(std::move(r), done);
    });
  }
  std::printf("{\"engine\":\"vpref\",\"parameters\":%lld}\n", static_cast<long long>(engine.info().num_parameters));
  std::fflush(stdout);
}

// One line a task; false if one failed. Without recorded launches the task is called "... plain".
bool run_tasks(const EngineOptions& options, const Shape& shape, const std::vector<std::string>& names, int rounds) {
  const bool cuda = options.device == Device::cuda;
  Engine engine(options);
  std::promise<ModelConfig> ready;
  int64_t read_bytes = 0;
  engine.run(
      [&](Context& ctx, Model& model) {
        if (shape.holes) bench::randomise(ctx, model);
        read_bytes = weight_bytes(model);
        ready.set_value(model.config);
      },
      [&](const Outcome<std::monostate>& outcome) {
        if (const Error* e = std::get_if<Error>(&outcome)) ready.set_exception(std::make_exception_ptr(*e));
      });
  const ModelConfig config = ready.get_future().get();
  bool failed = false;
  for (const std::string& name : names) {
    std::string said = name;
    if (!options.launch_graphs) said += " plain";
    if (cuda && options.packing != Packing::none) said += cat(" ", packing_name(options.packing));
    const std::string on =
        cuda ? cat(R"(,"device":"cuda","shape":")", shape.name, R"(","dtype":")", dtype_name(*options.dtype), "\"")
             : "";
    try {
      const Task task = task_named(name, cuda);
      run_task(engine, shape, task, 0);
      Time t{INFINITY, INFINITY};
      for (int r = 1; r <= rounds; ++r) t = least(t, run_task(engine, shape, task, r));
      const bool decodes = task.branches > 0 && !name.starts_with("prefill");
      std::printf(
          "{\"engine\":\"vpref\",\"task\":\"%s\",\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"threads\":%d,\"parameters\":%"
          "lld,\"weight_bytes\":%lld%s%s",
          said.c_str(), t.wall, t.cpu, engine.info().threads, static_cast<long long>(engine.info().num_parameters),
          static_cast<long long>(read_bytes), decodes ? R"(,"timed":"from the first token on")" : "", on.c_str());
      if (cuda) {
        const Floor floor = floor_of(bench::sizes_of(config, shape), shape, task, double(read_bytes), *options.dtype);
        const MemorySize memory = memory_size(Device::cuda);
        std::printf(",\"floor_flops\":%.4g,\"floor_bytes\":%.4g,\"gpu_mebibytes\":%zu", floor.flops, floor.bytes,
                    (memory.total - memory.free) >> 20);
      }
      std::printf("}\n");
    } catch (const Error& e) {  // the next task may still run
      failed = true;
      std::cerr << said << ": " << e.code() << ": " << e.what() << '\n';
      std::printf("{\"engine\":\"vpref\",\"task\":\"%s\"%s,\"error\":%s}\n", said.c_str(), on.c_str(),
                  json_quote(e.what()).c_str());
    }
    std::fflush(stdout);
  }
  return !failed;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  try {
    Shape shape = bench::shape_named(bench::flag(args, "--shape", "157m"));
    const bool cuda = bench::flag(args, "--device", "cpu") == "cuda";
    const std::string dtype = bench::flag(args, "--dtype", cuda ? "bf16" : "f32");
    const std::string plain = bench::flag(args, "--plain", ""), quantize = bench::flag(args, "--quantize", "none");
    const std::optional<Packing> packing = parse_packing(quantize);
    check(packing && *packing != Packing::fp4, "request", "--quantize: expected none, nf4 or int8, got ", quantize);
    if (const int32_t text = std::stoi(bench::flag(args, "--text", "0")); text > 0) {
      shape.prompt = text;
      shape.image_rows = 0;
    }
    if (args.size() < 2) {
      std::cerr
          << "usage: bench_engine make DIR [--shape S] | bench_engine open|first DIR | bench_engine TASK[,TASK...] DIR "
             "[THREADS] [ROUNDS] [--shape S] [--device cuda] [--dtype bf16] [--quantize nf4|int8] [--text N] [--plain "
             "TASK[,TASK...]] | bench_engine ids DIR [...]\n";
      return 2;
    }
    if (args[0] == "make") {
      make_checkpoint(args[1], shape);
      return 0;
    }
    EngineOptions options;
    options.model_dir = args[1];
    options.normalisation = kClipNormalisation;
    options.device = cuda ? Device::cuda : Device::cpu;
    options.dtype = dtype == "bf16" ? DType::bf16 : DType::f32;
    options.packing = *packing;
    options.threads = args.size() > 2 ? std::stoi(args[2]) : cuda ? 0 : 2;
    if (args[0] == "open" || args[0] == "first") {
      start(options, args[0] == "first");
      return 0;
    }
    if (args[0] == "ids") {
      print_ids(options, shape);
      return 0;
    }
    const int rounds = args.size() > 3 ? std::stoi(args[3]) : 3;
    bool whole = args[0] == "none" || run_tasks(options, shape, split(args[0]), rounds);
    if (plain.empty()) return whole ? 0 : 1;
    options.launch_graphs = false;
    whole = run_tasks(options, shape, split(plain), rounds) && whole;
    return whole ? 0 : 1;
  } catch (const Error& e) {
    std::cerr << e.code() << ": " << e.what() << '\n';
    return 1;
  }
}
