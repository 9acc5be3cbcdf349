// SPDX-License-Identifier: Apache-2.0
// Dropout before the adapters in training: the dependencies of its mask, and where it is off.
// Covers native/train/dropout_rows.h
#include "train/dropout_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "train/session.h"

namespace vpref {
namespace {

const std::string kModel = std::string(VPREF_FIXTURES) + "/demo/tiny-llava";

std::vector<SessionRow> pairs(int count) {
  std::vector<SessionRow> rows;
  for (int i = 0; i < count; ++i) {
    const auto ids = [&](int n, int salt) {
      std::vector<int32_t> out;
      for (int k = 0; k < n; ++k) out.push_back(10 + (i * 29 + k * 11 + salt * 17) % 200);
      return out;
    };
    SessionRow s;
    s.row.id = "pair" + std::to_string(i);
    s.row.num_rejected = 1;
    s.row.segments = {{.parent = -1, .token_ids = ids(6 + i, 0)},
                      {.parent = 0, .token_ids = ids(4, 1), .branch = 0},
                      {.parent = 0, .token_ids = ids(3 + i % 2, 2), .branch = 1}};
    s.row.ref = {-20.0 - i, -21.0 + i};
    rows.push_back(std::move(s));
  }
  return rows;
}

struct Settings {
  double p = 0.2;
  int64_t micro_batch_tokens = 4096;
  int recompute = 0;
  uint64_t seed = 3;
};

struct DropoutRun {
  Context ctx{Device::cpu, 1};
  Model model{kModel, Device::cpu, DType::f32};
  TrainSession session;
  explicit DropoutRun(const Settings& s) : session(ctx, model, options(s), "") {}
  static TrainerOptions options(const Settings& s) {
    TrainerOptions o;
    o.loss = parse_losses("sigmoid");
    o.trainable.lora_r = 4;
    o.trainable.lora_alpha = 8;
    o.trainable.lora_dropout = s.p;
    o.trainable.seed = s.seed;
    o.lr = 5e-3;
    o.schedule = Schedule::constant;
    o.micro_batch_tokens = s.micro_batch_tokens;
    o.recompute = s.recompute;
    return o;
  }
  // In the first step only B has a gradient, because B is zero; the second step tests more.
  std::vector<float> after(int steps) {
    for (int i = 0; i < steps; ++i) session.step(pairs(4));
    const Tensor t = session.trainer().trainable().store.flat_master();
    return {t.as<float>(), t.as<float>() + t.numel()};
  }
};

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double(a[i]) - double(b[i]), 2);
  return std::sqrt(sum);
}

TEST(Dropout, RowsOfAStepHaveDifferentMasks) {
  std::vector<int32_t> words;
  for (const int64_t step : {0, 1}) {
    for (const char* id : {"a", "b", "ab"}) add_dropout_rows(id, step, 50, words);
  }
  std::set<std::pair<int32_t, int32_t>> all;
  for (size_t i = 0; i < words.size(); i += 2) all.emplace(words[i], words[i + 1]);
  EXPECT_EQ(all.size(), 300u);
  std::vector<int32_t> again;
  add_dropout_rows("b", 0, 20, again);
  EXPECT_TRUE(std::equal(again.begin(), again.end(), words.begin() + 100));
}

TEST(Dropout, MasksDoNotDependOnMicroBatchesOrRecomputeLevel) {
  const std::vector<float> start = DropoutRun({}).after(0), want = DropoutRun({}).after(3);
  const double moved = distance(want, start);
  EXPECT_EQ(distance(DropoutRun({}).after(3), want), 0);
  EXPECT_LT(distance(DropoutRun({.micro_batch_tokens = 1}).after(3), want), 1e-3 * moved);
  for (const int level : {1, 2, 3})
    EXPECT_LT(distance(DropoutRun({.recompute = level}).after(3), want), 1e-3 * moved) << level;
  EXPECT_GT(distance(DropoutRun({.p = 0}).after(3), want), 0.05 * moved);
}

TEST(Dropout, IsOffOutsideTrainingPasses) {
  DropoutRun dropped({.p = 0.5}), whole({.p = 0});
  dropped.after(2);
  const Tensor values = dropped.session.trainer().trainable().store.flat_master();
  std::copy_n(values.as<float>(), values.numel(), whole.session.trainer().trainable().store.flat_master().as<float>());
  const std::vector<RowResult> got = dropped.session.score(pairs(4), true), want = whole.session.score(pairs(4), true);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].policy, want[i].policy);
  // The same state: with dropout in a step, and without it in scoring before and after.
  const StepResult step = dropped.session.step(pairs(4)), plain = whole.session.step(pairs(4));
  EXPECT_EQ(plain.rows[0].policy, want[0].policy);
  EXPECT_GT(std::abs(step.rows[0].policy[0] - plain.rows[0].policy[0]), 1e-4);
}

// The derivative of the loss under the mask: finite differences along the gradient of A and B.
TEST(Dropout, GradientEqualsThatOfTheLossUnderTheMask) {
  DropoutRun run({.p = 0.3});
  run.after(2);
  Trainer& trainer = run.session.trainer();
  ParameterStore& store = trainer.trainable().store;
  const Tensor values = store.flat_master();
  const std::vector<float> at(values.as<float>(), values.as<float>() + values.numel());
  std::vector<TrainRow> rows;
  for (const SessionRow& row : pairs(4)) rows.push_back(row.row);
  const auto loss_at = [&](const std::vector<float>& direction, double by) {
    for (size_t i = 0; i < at.size(); ++i) values.as<float>()[i] = float(at[i] + by * direction[i]);
    store.refresh_copy(run.ctx);
    return trainer.accumulate(rows, {});
  };
  const StepResult here = loss_at(at, 0);
  std::vector<float> gradient(at.size());
  size_t filled = 0;
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const Tensor g = store.grad(int(i));
    std::copy_n(g.as<float>(), g.numel(), gradient.begin() + int64_t(filled));
    filled += size_t(g.numel());
  }
  ASSERT_EQ(filled, at.size());
  const double h = 1e-2 / here.grad_norm;
  const double slope = (loss_at(gradient, h).loss - loss_at(gradient, -h).loss) / (2 * h);
  EXPECT_NEAR(slope, here.grad_norm * here.grad_norm, 0.02 * slope);
}

TEST(Dropout, AnotherSeedGivesAnotherMask) {
  const auto first_loss = [](uint64_t seed) {
    DropoutRun run({.seed = seed});
    run.after(1);
    return run.session.step(pairs(4)).loss;
  };
  EXPECT_NE(first_loss(3), first_loss(4));
}

TEST(Dropout, RefusesToRunWithoutAnAdapterOrWithABadProbability) {
  EXPECT_THROW(DropoutRun({.p = 1}), Error);
  EXPECT_THROW(DropoutRun({.p = -0.1}), Error);
  TrainerOptions o = DropoutRun::options({});
  o.trainable.lora_r = 0;
  o.trainable.projector = true;
  Context ctx(Device::cpu, 1);
  Model model(kModel, Device::cpu, DType::f32);
  EXPECT_THROW(TrainSession(ctx, model, o, ""), Error);
}

}  // namespace
}  // namespace vpref
