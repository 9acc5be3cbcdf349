// SPDX-License-Identifier: Apache-2.0
// DPO steps with LoRA on all seven linears on the checkpoint that `bench_engine make DIR` writes, reference pass
// included.
//   bench_train DIR [THREADS] [ROUNDS] [TOKENS of a micro-batch] [--shape S of bench_engine] [--device cuda]
//   [--lora-r N] [--pairs N] [--quantize nf4|int8]
// Prints one JSON row; see hf_baseline.py beside it, and bench/gpu_baseline.py for the GPU. Defaults: r = 64, P = 320,
// A = 16, f32, 8 pairs a step; those of real size: r = 1024, P = 630, A = 60, bf16, 16 pairs a step.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "../support/random_model.h"
#include "core/error.h"
#include "train/session.h"

using namespace vpref;

namespace {

std::vector<SessionRow> make_rows(const bench::Shape& shape, int32_t pairs, int32_t round) {
  std::vector<SessionRow> rows;
  for (int32_t i = 0; i < pairs; ++i) {
    SessionRow s;
    s.row.id = std::to_string(i);
    s.row.num_rejected = 1;
    s.row.segments = {{.parent = -1, .token_ids = prompt_ids(shape, i), .images = {0}},
                      {.parent = 0, .token_ids = answer_ids(shape, 2 * i), .branch = 0},
                      {.parent = 0, .token_ids = answer_ids(shape, 2 * i + 1), .branch = 1}};
    s.images = {picture(shape, i + 100 * round)};
    rows.push_back(std::move(s));
  }
  return rows;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Seconds {
  double reference, step;  // of one pair
  double sum() const { return reference + step; }
};

// The reference pass and one step, as a run without stored references pays them.
Seconds step(Context& ctx, TrainSession& session, const bench::Shape& shape, int32_t pairs, int32_t round) {
  std::vector<SessionRow> rows = make_rows(shape, pairs, round);
  const double begin = now();
  const auto reference = session.score(rows, /*adapter_on=*/false);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].row.ref = reference[i].policy;
  const double middle = now();
  session.step(rows);
  synchronize(ctx);
  return {(middle - begin) / pairs, (now() - middle) / pairs};
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  try {
    const bench::Shape shape = bench::shape_named(bench::flag(args, "--shape", "157m"));
    const Device device = bench::flag(args, "--device", "cpu") == "cuda" ? Device::cuda : Device::cpu;
    const int64_t rank = std::stoll(bench::flag(args, "--lora-r", std::to_string(shape.lora_r)));
    const int32_t pairs = std::stoi(bench::flag(args, "--pairs", std::to_string(shape.pairs)));
    const std::string quantize = bench::flag(args, "--quantize", "none"),
                      task = cat("dpo", quantize == "none" ? "" : " " + quantize,
                                 args.size() > 3 ? cat(", micro-batches of ", args[3], " rows") : "");
    const std::optional<Packing> packing = parse_packing(quantize);
    check(packing && *packing != Packing::fp4, "request", "--quantize: expected none, nf4 or int8, got ", quantize);
    if (args.empty()) {
      std::fprintf(
          stderr,
          "usage: bench_train DIR [THREADS] [ROUNDS] [TOKENS] [--shape S] [--device cuda] [--lora-r N] [--pairs N] "
          "[--quantize nf4|int8]\n");
      return 2;
    }
    const int threads = args.size() > 1 ? std::stoi(args[1]) : 2, rounds = args.size() > 2 ? std::stoi(args[2]) : 3;
    Context ctx(device, threads);
    Model model(args[0], device, device == Device::cuda ? DType::bf16 : DType::f32, kClipNormalisation);
    model.pack_base(*packing, "", threads);
    if (shape.holes) bench::randomise(ctx, model);
    TrainerOptions options;
    options.loss = parse_losses("sigmoid");
    options.trainable.lora_r = rank;
    options.trainable.lora_alpha = 2 * double(rank);
    options.total_steps = 100;
    options.lr = 1e-5;
    // One pair at a time, as the CPU baseline's best; as many as a GPU wants at once.
    const int32_t pair_rows = shape.prompt + 2 * shape.answer;
    options.micro_batch_tokens = args.size() > 3          ? std::stoll(args[3])
                                 : device == Device::cuda ? 8 * pair_rows
                                                          : pair_rows;
    TrainSession session(ctx, model, options, "");
    const std::string plan = session.trainer().memory_plan();
    step(ctx, session, shape, pairs, 0);
    Seconds best{1e30, 0};
    for (int r = 1; r <= rounds; ++r) {
      const Seconds s = step(ctx, session, shape, pairs, r);
      if (s.sum() < best.sum()) best = s;
    }
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    std::printf(
        "{\"engine\":\"vpref\",\"seconds_per_pair\":%.6f,\"peak_mebibytes\":%ld,\"threads\":%d,\"parameters\":%lld",
        best.sum(), usage.ru_maxrss / 1024, threads, static_cast<long long>(model.num_parameters()));
    if (device == Device::cuda) {
      // Forward and backward of frozen weights 2N each, of LoRA 2R and 4R; the reference 2N; the tower once a pass; the
      // head each way on answer rows.
      const bench::Sizes n = bench::sizes_of(model.config, shape);
      const double head = 2 * n.head * 2 * shape.answer;
      const double flops =
          pair_rows * (4 * n.linears + 6 * n.lora(double(rank)) + 2 * n.linears) + 2 * n.image + 3 * head;
      const MemorySize memory = memory_size(Device::cuda);
      std::printf(
          ",\"task\":\"%s\",\"device\":\"cuda\",\"shape\":\"%s\",\"dtype\":\"bf16\",\"lora_r\":%lld,\"reference_"
          "seconds_per_pair\":%.6f,\"floor_flops\":%.4g,\"gpu_mebibytes\":%zu,\"plan\":\"%s\"",
          task.c_str(), shape.name.c_str(), static_cast<long long>(rank), best.reference, flops,
          (memory.total - memory.free) >> 20, plan.c_str());
    }
    std::printf("}\n");
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", error.code().c_str(), error.what());
    return 1;
  }
}
