// SPDX-License-Identifier: Apache-2.0
// DPO steps on the checkpoint that `bench_engine make DIR` writes: LoRA r = 64 on all seven linears, P = 320, A = 16, f32, reference included.
//   bench_train DIR [threads] [rounds] [tokens of a micro-batch]     prints one JSON row; see hf_baseline.py beside it
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "core/error.h"
#include "train/session.h"

using namespace vpref;

namespace {

constexpr int32_t kPrompt = 320, kAnswer = 16, kPairs = 8, kImageRows = 256, kSide = 224;

Image picture(int32_t i) {
  Image image{.height = kSide, .width = kSide, .pixels = std::vector<uint8_t>(size_t(kSide) * kSide * 3)};
  for (size_t k = 0; k < image.pixels.size(); ++k) image.pixels[k] = uint8_t((k * 7 + size_t(i) * 13) % 251);
  return image;
}

std::vector<int32_t> answer(int32_t i) {
  std::vector<int32_t> ids(kAnswer);
  for (int32_t t = 0; t < kAnswer; ++t) ids[size_t(t)] = 100 + (i * 131 + t * 17) % 30000;
  return ids;
}

std::vector<SessionRow> make_rows(int32_t round) {
  std::vector<SessionRow> rows;
  for (int32_t i = 0; i < kPairs; ++i) {
    SessionRow s;
    s.row.id = std::to_string(i);
    s.row.num_rejected = 1;
    SegmentInput prompt{.parent = -1, .token_ids = {1}, .images = {0}, .image_rows = {kImageRows}};
    prompt.token_ids.insert(prompt.token_ids.end(), kImageRows, -1);
    while (int32_t(prompt.token_ids.size()) < kPrompt) prompt.token_ids.push_back(100 + (i * 997 + int32_t(prompt.token_ids.size()) * 31) % 30000);
    s.row.segments = {prompt, {.parent = 0, .token_ids = answer(2 * i), .branch = 0}, {.parent = 0, .token_ids = answer(2 * i + 1), .branch = 1}};
    s.images = {picture(i + 100 * round)};
    rows.push_back(std::move(s));
  }
  return rows;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The reference pass and one step, as a run without stored references pays them.
double step(TrainSession& session, int32_t round) {
  std::vector<SessionRow> rows = make_rows(round);
  const double begin = now();
  const auto reference = session.score(rows, /*adapter_on=*/false);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].row.ref = reference[i].policy;
  session.step(rows);
  return (now() - begin) / kPairs;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_train DIR [threads] [rounds] [tokens]\n");
    return 2;
  }
  try {
    const int threads = argc > 2 ? std::stoi(argv[2]) : 2, rounds = argc > 3 ? std::stoi(argv[3]) : 3;
    Context ctx(Device::cpu, threads);
    Model model(argv[1], Device::cpu, DType::f32);
    TrainerOptions options;
    options.loss = parse_losses("sigmoid", 1, 1);
    options.trainable.lora_r = 64;
    options.trainable.lora_alpha = 128;
    options.total_steps = 100;
    options.lr = 1e-5;
    options.micro_batch_tokens = argc > 4 ? std::stoll(argv[4]) : kPrompt + 2 * kAnswer;  // one pair at a time, as the baseline's best
    TrainSession session(ctx, model, options, "");
    step(session, 0);
    double best = 1e30;
    for (int r = 1; r <= rounds; ++r) best = std::min(best, step(session, r));
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    std::printf("{\"engine\":\"vpref\",\"seconds_per_pair\":%.6f,\"peak_mebibytes\":%ld,\"threads\":%d,\"parameters\":%lld}\n", best, usage.ru_maxrss / 1024, threads,
                static_cast<long long>(model.num_parameters()));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", error.code().c_str(), error.what());
    return 1;
  }
}
