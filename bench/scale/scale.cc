// SPDX-License-Identifier: Apache-2.0
// DPO steps by one process or by the ranks of an mpirun, on the checkpoint that `bench_engine make DIR` writes: time a
// step, what was not hidden of the waiting, and the bytes of the flat collectives, counted at their calls.
//   [mpirun -n N] bench_scale DIR [--ranks N] [--threads N] [--steps N] [--lora-r N] [--pairs N a rank] [--zero 0|1]
// Rank 0 prints one JSON row. bench/scale/scale.ts runs it and holds it against the model.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "../support/random_model.h"
#include "core/error.h"
#include "train/session.h"

using namespace vpref;

namespace {

std::vector<SessionRow> make_rows(const bench::Shape& shape, int first, int count) {
  std::vector<SessionRow> rows;
  for (int i = first; i < first + count; ++i) {
    SessionRow s;
    s.row.id = std::to_string(i);
    s.row.num_rejected = 1;
    s.row.ref = {-100, -100};
    s.row.segments = {{.parent = -1, .token_ids = prompt_ids(shape, i), .images = {0}},
                      {.parent = 0, .token_ids = answer_ids(shape, 2 * i), .branch = 0},
                      {.parent = 0, .token_ids = answer_ids(shape, 2 * i + 1), .branch = 1}};
    s.images = {picture(shape, i)};
    rows.push_back(std::move(s));
  }
  return rows;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Seconds of one all-reduce of `n` floats with nothing to hide it.
double bare_all_reduce(Context& ctx, Collective& world, int64_t n) {
  std::vector<float> values(size_t(n), 1.0f);
  double best = 1e30;
  for (int round = 0; round < 3; ++round) {
    world.barrier();
    const double begin = now();
    world.start_all_reduce(ctx, values.data(), n);
    world.wait(ctx);
    best = std::min(best, now() - begin);
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  try {
    const auto number = [&](const char* name, const char* otherwise) {
      return std::stoi(bench::flag(args, name, otherwise));
    };
    const int ranks = number("--ranks", "1"), threads = number("--threads", "1"), steps = number("--steps", "3"),
              pairs = number("--pairs", "4");
    const int lora_r = number("--lora-r", "64"), zero = number("--zero", "0");
    if (args.size() != 1)
      throw Error("config",
                  "usage: bench_scale DIR [--ranks N] [--threads N] [--steps N] [--lora-r N] [--pairs N] [--zero 0|1]");
    const bench::Shape shape = bench::shape_named("157m");
    Context ctx(Device::cpu, threads);
    Model model(args[0], Device::cpu, DType::f32, kClipNormalisation);
    TrainerOptions options;
    options.loss = parse_losses("sigmoid");
    options.trainable.lora_r = lora_r;
    options.trainable.lora_alpha = 2.0 * lora_r;
    options.total_steps = 100;
    options.lr = 1e-5;
    options.zero = zero;
    options.micro_batch_tokens = shape.prompt + 2 * shape.answer;
    TrainSession session(ctx, model, options, "",
                         join_world({.size = ranks, .device = Device::cpu, .library_folder = ""}));
    Collective& world = session.world();
    const std::vector<SessionRow> rows = make_rows(shape, world.rank() * pairs, pairs);
    session.step(rows);  // buffers, oneDNN's primitives
    const Volume before = world.volume();
    double best = 1e30, wait = 0;
    for (int i = 0; i < steps; ++i) {
      world.barrier();
      const double begin = now(), waited = world.volume().wait_seconds;
      session.step(rows);
      world.barrier();
      if (now() - begin < best) {
        best = now() - begin;
        wait = world.volume().wait_seconds - waited;
      }
    }
    const Volume after = world.volume();
    const int64_t numel = session.trainer().trainable().store.numel();
    const double bare = ranks > 1 ? bare_all_reduce(ctx, world, numel) : 0;
    if (world.rank() == 0) {
      std::printf(
          "{\"ranks\":%d,\"threads\":%d,\"zero\":%d,\"pairs_a_rank\":%d,\"lora_r\":%d,\"trained\":%lld,\"seconds_per_"
          "step\":%.6f,\"wait_seconds\":%.6f,"
          "\"bare_all_reduce_seconds\":%.6f,\"calls_per_step\":%lld,\"payload_bytes_per_step\":%lld,\"sent_bytes_per_"
          "step\":%.0f}\n",
          ranks, threads, session.trainer().zero() ? 1 : 0, pairs, lora_r, static_cast<long long>(numel), best, wait,
          bare, static_cast<long long>((after.calls - before.calls) / steps),
          static_cast<long long>((after.payload_bytes - before.payload_bytes) / steps),
          (after.sent_bytes - before.sent_bytes) / steps);
    }
    world.leave();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", error.code().c_str(), error.what());
    return 1;
  }
}
