// SPDX-License-Identifier: Apache-2.0
// Training by several ranks against one process in the same program: with one rank, or under mpiexec
// (VPREF_TEST_RANKS).
// Covers native/train/gradient_exchange.cc
#include "train/gradient_exchange.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "train/session.h"

namespace vpref {
namespace {

const std::string kModel = std::string(VPREF_FIXTURES) + "/demo/tiny-llava";

int num_ranks() {
  const char* text = std::getenv("VPREF_TEST_RANKS");
  return text ? std::atoi(text) : 1;
}
std::unique_ptr<Collective> join() {
  return join_world({.size = num_ranks(), .device = Device::cpu, .library_folder = ""});
}

// MPI can be started once per process, and ends with it.
class Leave : public testing::Environment {
  void TearDown() override { join()->leave(); }
};
const auto* const kLeave = testing::AddGlobalTestEnvironment(new Leave);

// Text-only rows, all different, with one rejected response each.
std::vector<SessionRow> rows_of(int count) {
  std::vector<SessionRow> rows;
  for (int i = 0; i < count; ++i) {
    const auto ids = [&](int n, int salt) {
      std::vector<int32_t> out;
      for (int k = 0; k < n; ++k) out.push_back(10 + (i * 31 + k * 7 + salt * 13) % 200);
      return out;
    };
    SessionRow s;
    s.row.id = "row" + std::to_string(i);
    s.row.num_rejected = 1;
    s.row.label = i % 2 == 0;
    s.row.segments = {{.parent = -1, .token_ids = ids(5 + i, 0)},
                      {.parent = 0, .token_ids = ids(3 + i % 3, 1), .branch = 0},
                      {.parent = 0, .token_ids = ids(4, 2), .branch = 1}};
    s.row.ref = {-12.0 - i, -14.0 + i};
    rows.push_back(std::move(s));
  }
  return rows;
}

std::vector<SessionRow> share(const std::vector<SessionRow>& rows, int rank, int size) {
  const auto at = [&](int r) { return rows.begin() + int64_t(rows.size()) * r / size; };
  return {at(rank), at(rank + 1)};
}

TrainerOptions options_for(const std::string& loss, int zero) {
  TrainerOptions o;
  o.loss = parse_losses(loss);
  o.trainable.lora_r = 4;
  o.trainable.lora_alpha = 8;
  o.trainable.projector = true;
  o.lr = 1e-3;
  o.schedule = Schedule::constant;
  o.max_grad_norm = 0.5;
  o.weight_decay = 0.01;
  o.zero = zero;
  o.bucket_bytes = 16 << 10;  // several layers, several buckets
  o.micro_batch_tokens = 40;  // several micro-batches
  return o;
}

struct RankRun {
  Context ctx{Device::cpu, 1};
  Model model{kModel, Device::cpu, DType::f32};
  TrainSession session;
  RankRun(TrainerOptions options, std::unique_ptr<Collective> world)
      : session(ctx, model, std::move(options), "", std::move(world)) {}
  StepResult step(const std::vector<SessionRow>& rows) {
    return session.step(share(rows, session.world().rank(), session.world().size()));
  }
  std::vector<float> master() {
    const Tensor t = session.trainer().trainable().store.flat_master();
    return {t.as<float>(), t.as<float>() + t.numel()};
  }
};

// Sums over ranks have another order, and Adam divides by the root of the second moment, so an element whose gradient
// nearly cancels may move by a share of the learning rate. Therefore the whole update is compared, within 1e-3 of its
// norm.
void expect_same_update(const std::vector<float>& got, const std::vector<float>& want,
                        const std::vector<float>& start) {
  ASSERT_EQ(got.size(), want.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += std::pow(double(got[i]) - want[i], 2);
    norm += std::pow(double(want[i]) - start[i], 2);
  }
  EXPECT_GT(norm, 0);
  EXPECT_LE(std::sqrt(difference), 1e-3 * std::sqrt(norm)) << std::sqrt(difference / norm);
}

class LossOfRanks : public testing::TestWithParam<const char*> {};

TEST_P(LossOfRanks, StepsEqualThoseOfOneProcess) {
  for (const int zero : {0, 1}) {
    RankRun one(options_for(GetParam(), 0), single_process()), many(options_for(GetParam(), zero), join());
    const std::vector<float> start = one.master();
    EXPECT_EQ(many.session.trainer().zero(), zero == 1 && num_ranks() > 1);
    for (int step = 0; step < 3; ++step) {
      const std::vector<SessionRow> rows = rows_of(5);  // not divisible by the number of ranks
      const StepResult want = one.step(rows), got = many.step(rows);
      EXPECT_NEAR(got.loss, want.loss, 2e-5 * std::abs(want.loss)) << "step " << step;
      EXPECT_NEAR(got.grad_norm, want.grad_norm, 1e-4 * want.grad_norm) << "step " << step;
      EXPECT_EQ(got.num_rows_packed, want.num_rows_packed);
    }
    expect_same_update(many.master(), one.master(), start);
  }
}

INSTANTIATE_TEST_SUITE_P(Losses, LossOfRanks, testing::Values("sigmoid", "kto", "bco", "sft", "sigmoid:1,sft:0.2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); });
                           return name;
                         });

TEST(TrainRanks, RanksDropWhatOneProcessDrops) {
  TrainerOptions options = options_for("sigmoid", 0);
  options.trainable.lora_dropout = 0.3;
  RankRun one(options, single_process()), many(options, join());
  const std::vector<float> start = one.master();
  for (int step = 0; step < 3; ++step) {
    const std::vector<SessionRow> rows = rows_of(5);
    EXPECT_NEAR(many.step(rows).loss, one.step(rows).loss, 2e-5);
  }
  expect_same_update(many.master(), one.master(), start);
}

TEST(TrainRanks, ZeroStage1EqualsZeroStage0BitForBit) {
  RankRun whole(options_for("sigmoid", 0), join()), split(options_for("sigmoid", 1), join());
  for (int step = 0; step < 3; ++step) {
    const std::vector<SessionRow> rows = rows_of(6);
    EXPECT_EQ(split.step(rows).grad_norm, whole.step(rows).grad_norm);
  }
  if (num_ranks() <= 2) {
    EXPECT_EQ(split.master(), whole.master());  // a + b = b + a; more ranks may be summed in two orders
  }
  const size_t all = whole.session.trainer().trainable().store.bytes(),
               mine = split.session.trainer().trainable().store.bytes();
  const size_t moments = 8 * size_t(whole.session.trainer().trainable().store.numel());
  EXPECT_NEAR(double(all - mine), double(moments) * (num_ranks() - 1) / num_ranks(), 0.05 * double(moments));
}

TEST(TrainRanks, ARankWithoutRowsTakesPart) {
  RankRun one(options_for("sigmoid", 0), single_process()), many(options_for("sigmoid", 1), join());
  const std::vector<SessionRow> rows = rows_of(1);
  const StepResult want = one.step(rows), got = many.step(rows);
  EXPECT_NEAR(got.loss, want.loss, 1e-6);
  EXPECT_NEAR(got.grad_norm, want.grad_norm, 1e-4 * want.grad_norm);
}

// Rank 0 writes to a folder that all ranks of one mpiexec share.
std::string state_file(const char* name) {
  const char* job = std::getenv("OMPI_MCA_orte_ess_jobid");
  const std::string dir =
      std::filesystem::temp_directory_path() / cat("vpref-ranks-", job ? job : std::to_string(getpid()));
  std::filesystem::create_directories(dir);
  return dir + "/" + name;
}

TEST(TrainRanks, ARunMayResumeWithAnotherNumberOfRanks) {
  const std::vector<SessionRow> rows = rows_of(4);
  RankRun many(options_for("sigmoid", 1), join());
  many.step(rows);
  const std::string from_many = state_file("many.safetensors"), from_one = state_file("one.safetensors"),
                    again = state_file("again.safetensors");
  many.session.save_state(from_many);
  if (many.session.world().rank() == 0) {
    RankRun one(options_for("sigmoid", 0), single_process());
    one.session.restore(from_many);
    EXPECT_EQ(one.session.steps_done(), 1);
    EXPECT_EQ(one.master(), many.master());
    one.session.save_state(from_one);
  }
  many.session.world().barrier();
  RankRun back(options_for("sigmoid", 1), join());
  back.session.restore(from_one);
  back.session.save_state(again);
  EXPECT_EQ(back.master(), many.master());
  if (many.session.world().rank() == 0) {
    const auto same = [](const std::string& a, const std::string& b) {
      const Safetensors x(a), y(b);
      for (const auto& [name, t] : x.tensors())
        ASSERT_EQ(std::memcmp(x.view(name).data, y.view(name).data, x.view(name).bytes()), 0) << name;
    };
    same(from_many, from_one);
    same(from_many, again);
  }
  // Both continue with the same bits.
  EXPECT_EQ(back.step(rows).grad_norm, many.step(rows).grad_norm);
  EXPECT_EQ(back.master(), many.master());
  many.session.world().barrier();
  if (many.session.world().rank() == 0) std::filesystem::remove_all(std::filesystem::path(from_many).parent_path());
}

template <class F>
std::pair<std::string, std::string> error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return {e.code(), e.what()};
  }
  return {"none", ""};
}

TEST(TrainRanks, CancelledOnOneEndsTheStepOnAllUnchanged) {
  RankRun run(options_for("sigmoid", 1), join());
  const int last = num_ranks() - 1;
  const std::vector<float> before = run.master();
  run.session.trainer().is_cancelled = [&] { return run.session.world().rank() == last; };
  EXPECT_EQ(error_of([&] { run.step(rows_of(8)); }).first, "cancelled");
  EXPECT_EQ(run.master(), before);
  run.session.trainer().is_cancelled = nullptr;
  EXPECT_EQ(error_of([&] { run.step(rows_of(8)); }).first, "none");  // a late cancellation does not end the next step
}

TEST(TrainRanks, AFailureIsNamedByItsRankAndEndsTheStepOnAll) {
  RankRun run(options_for("sigmoid", 0), join());
  std::vector<SessionRow> rows = rows_of(4);
  rows[3].row.ref[0] = std::nan("");
  const std::vector<float> before = run.master();
  const auto [code, what] = error_of([&] { run.step(rows); });
  const int last = num_ranks() - 1;
  if (run.session.world().rank() == last) {
    EXPECT_EQ(code, "nonfinite");
    EXPECT_NE(what.find("the loss of row row3 is not finite"), std::string::npos) << what;
    if (num_ranks() > 1) {
      EXPECT_EQ(what.rfind(cat("rank ", last, ": "), 0), 0u) << what;
    }
  } else {
    EXPECT_EQ(code, "peer");
  }
  EXPECT_EQ(run.master(), before);
}

TEST(TrainRanks, BucketsCoverTheStoreInTheOrderOfTheBackward) {
  RankRun run(options_for("sigmoid", 1), join());
  const auto& buckets = run.session.trainer().exchange().buckets();
  EXPECT_GT(buckets.size(), 3u);
  int64_t covered = 0, layer = int64_t(1) << 40;
  for (const auto& b : buckets) {
    covered += b.range.size();
    EXPECT_LE(b.layer, layer);
    layer = b.layer;
  }
  EXPECT_EQ(covered, run.session.trainer().trainable().store.numel());
  EXPECT_EQ(buckets.back().layer, -1);  // the projector
}

}  // namespace
}  // namespace vpref
