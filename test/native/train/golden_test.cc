// SPDX-License-Identifier: Apache-2.0
// Training on the demo model against transformers + peft (scripts/goldens/train.py): losses, every gradient, five AdamW
// steps.
// Covers native/model/head.cc native/train/session_files.cc
// Tolerances: relative L2 of a gradient 2e-4, each element 2e-4 of its tensor's largest; losses 2e-5 (the two ipo
// losses, squares of about 150 and 30, 1e-4), over five steps 5e-5.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <stdexcept>

#include "model/json.h"
#include "model/safetensors.h"
#include "support/golden.h"
#include "train/session.h"

namespace vpref {
namespace {

const std::string kFixtures = VPREF_FIXTURES;
const std::string kGolden = kFixtures + "/golden/train";

const Json& at(const Json& object, const std::string& key) {
  const Json* member = object.find(key);
  if (!member) throw std::runtime_error("no " + key + " in the golden");
  return *member;
}

struct GoldenRow {
  std::string id;
  std::vector<int32_t> prompt;
  std::vector<std::vector<int32_t>> answers;  // chosen, rejected...
  std::vector<double> reference;
  Image image;
};

std::vector<int32_t> ids_of(const Json& list) {
  std::vector<int32_t> ids;
  for (const Json& id : list.array()) ids.push_back(int32_t(id.number()));
  return ids;
}

struct Golden {
  Json json = read_json_file(kGolden + "/rows.json");
  std::vector<GoldenRow> rows;
  Golden() {
    const Safetensors images(kGolden + "/images.safetensors");
    for (size_t n = 0; n < at(json, "rows").array().size(); ++n) {
      const Json& row = at(json, "rows").array()[n];
      GoldenRow r{.id = at(row, "id").string(),
                  .prompt = ids_of(at(row, "prompt")),
                  .answers = {ids_of(at(row, "chosen"))},
                  .reference = {},
                  .image = {}};
      for (const Json& rejected : at(row, "rejected").array()) r.answers.push_back(ids_of(rejected));
      for (const Json& ref : at(json, "reference").array()[n].array()) r.reference.push_back(ref.number());
      const Tensor pixels = images.view("image." + std::to_string(n));
      r.image = golden::image(pixels.reshaped({1, 128, 128, 3}), 0);
      rows.push_back(std::move(r));
    }
  }
  double loss(const std::string& name) const { return at(at(json, "losses"), name).number(); }
};

const Golden& golden() {
  static const Golden g;
  return g;
}

// The first `num_rejected` rejected responses of every row; 0: only the chosen one (sft).
std::vector<SessionRow> rows_with(size_t num_rejected) {
  std::vector<SessionRow> rows;
  for (const GoldenRow& g : golden().rows) {
    SessionRow s;
    s.row.id = g.id;
    s.row.num_rejected = int32_t(num_rejected);
    s.row.segments.push_back({.parent = -1, .token_ids = g.prompt, .images = {0}});
    for (size_t k = 0; k <= num_rejected; ++k) {
      s.row.segments.push_back({.parent = 0, .token_ids = g.answers[k], .branch = int32_t(k)});
      s.row.ref.push_back(g.reference[k]);
    }
    s.images = {g.image};
    rows.push_back(std::move(s));
  }
  return rows;
}

TrainerOptions options_for(const std::string& loss) {
  TrainerOptions o;
  o.loss = parse_losses(loss);
  o.trainable.lora_r = 4;
  o.trainable.lora_alpha = 8;
  return o;
}

struct GoldenRun {
  Context ctx{Device::cpu, 2};
  Model model{kFixtures + "/demo/tiny-llava", Device::cpu, DType::f32, kClipNormalisation};
  TrainSession session;
  explicit GoldenRun(TrainerOptions options) : session(ctx, model, std::move(options), kGolden + "/adapter") {}
};

void expect_tensor_close(const std::string& name, const Tensor& got, const Tensor& want) {
  ASSERT_EQ(got.numel(), want.numel()) << name;
  double difference = 0, norm = 0, largest = 0, worst = 0;
  for (int64_t i = 0; i < got.numel(); ++i) {
    const double g = got.as<float>()[i], w = want.as<float>()[i];
    difference += (g - w) * (g - w);
    norm += w * w;
    largest = std::max(largest, std::abs(w));
    worst = std::max(worst, std::abs(g - w));
  }
  EXPECT_LE(std::sqrt(difference), 2e-4 * std::sqrt(norm) + 1e-9)
      << name << ": relative L2 " << std::sqrt(difference / norm);
  EXPECT_LE(worst, 2e-4 * largest + 1e-9) << name << ": largest difference " << worst << " of " << largest;
}

void expect_gradients(const std::string& variant, const std::string& file) {
  const Safetensors got(file), want(kGolden + "/gradients.safetensors");
  size_t compared = 0;
  for (const auto& [name, stored] : want.tensors()) {
    if (!name.starts_with(variant + "/")) continue;
    const std::string key = name.substr(variant.size() + 1);
    ASSERT_TRUE(got.contains(key)) << key;
    expect_tensor_close(name, got.view(key), want.view(name));
    ++compared;
  }
  EXPECT_GT(compared, 0u) << variant;
}

struct Variant {
  std::string name, loss;
  size_t num_rejected;
  double tolerance;
  double label_smoothing = 0;
};

class GoldenGradients : public testing::TestWithParam<Variant> {};

TEST_P(GoldenGradients, LossAndEveryGradientEqualPyTorch) {
  const Variant& v = GetParam();
  TrainerOptions options = options_for(v.loss);
  options.loss_options.label_smoothing = v.label_smoothing;
  GoldenRun run(options);
  const std::string file = testing::TempDir() + "/gradients-" + v.name + ".safetensors";
  const StepResult result = run.session.save_gradients(rows_with(v.num_rejected), file);
  EXPECT_NEAR(result.loss, golden().loss(v.name), v.tolerance);
  expect_gradients(v.name, file);
  std::filesystem::remove(file);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenGradients,
                         testing::Values(Variant{"sigmoid", "sigmoid", 1, 2e-5},
                                         Variant{"cdpo", "sigmoid", 1, 2e-5, 0.1}, Variant{"hinge", "hinge", 1, 2e-5},
                                         Variant{"ipo", "ipo", 1, 1e-4},
                                         Variant{"ipo-token-mean", "ipo-token-mean", 1, 1e-4},
                                         Variant{"softmax", "softmax", 3, 2e-5}, Variant{"sft", "sft", 0, 2e-5},
                                         Variant{"sum", "sigmoid:1,sft:0.1", 1, 2e-5}),
                         [](const auto& param) {
                           std::string name = param.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(GoldenTraining, ProjectorGradientsEqualPyTorch) {
  TrainerOptions options = options_for("sigmoid");
  options.trainable.projector = true;
  GoldenRun run(options);
  const std::string file = testing::TempDir() + "/gradients-projector.safetensors";
  run.session.save_gradients(rows_with(1), file);
  expect_gradients("projector", file);
  expect_gradients("sigmoid", file);
  std::filesystem::remove(file);
}

TEST(GoldenTraining, TokenLogpsEqualPyTorch) {
  GoldenRun run(options_for("sigmoid"));
  const auto scored = run.session.score(rows_with(3), /*adapter_on=*/true);
  const auto reference = run.session.score(rows_with(3), /*adapter_on=*/false);
  for (size_t n = 0; n < scored.size(); ++n) {
    for (size_t k = 0; k < 4; ++k) {
      double want = 0;
      for (const Json& logp : at(golden().json, "policy_token_logps").array()[n].array()[k].array())
        want += logp.number();
      EXPECT_NEAR(scored[n].policy[k], want, 2e-3) << n << " " << k;
      EXPECT_NEAR(reference[n].policy[k], golden().rows[n].reference[k], 2e-3) << n << " " << k;
    }
  }
}

// Micro-batches of 1 x 4 and 4 x 1, and every recompute level, give the same gradients.
TEST(GoldenTraining, MicroBatchesAndRecomputeLevelsAgree) {
  for (int64_t tokens : {int64_t(1), int64_t(100000)}) {
    for (int level : {0, 1, 2, 3}) {
      TrainerOptions options = options_for("sigmoid");
      options.micro_batch_tokens = tokens;
      options.recompute = level;
      GoldenRun run(options);
      const std::string file = testing::TempDir() + "/gradients-level.safetensors";
      run.session.save_gradients(rows_with(1), file);
      expect_gradients("sigmoid", file);
      std::filesystem::remove(file);
    }
  }
}

RowSize size_of(const SessionRow& s) {
  const int64_t image_rows = 64 * int64_t(s.images.size());
  RowSize size{.image_rows = image_rows, .features = image_rows};
  for (const SegmentInput& segment : s.row.segments) {
    size.rows += int64_t(segment.token_ids.size());
    if (segment.branch >= 0) size.targets += int64_t(segment.token_ids.size());
  }
  return size;
}

// The plan, computed from sizes only, equals the bytes of a step.
TEST(GoldenTraining, MemoryPlanEqualsTheBytesOfAStep) {
  const auto rows = rows_with(1);
  std::vector<RowSize> sizes;
  for (const SessionRow& row : rows) sizes.push_back(size_of(row));
  const std::vector<int64_t> one_step = {int64_t(rows.size())};
  size_t before = SIZE_MAX;
  std::vector<size_t> needed;
  for (int level : {0, 1, 2, 3}) {
    TrainerOptions options = options_for("sigmoid");
    options.recompute = level;
    GoldenRun run(options);
    const MemoryPlan plan = run.session.trainer().plan(sizes, one_step, kNoLimit);
    EXPECT_EQ(plan.level, level);
    EXPECT_EQ(plan.largest_batch, std::accumulate(sizes.begin(), sizes.end(), int64_t(0),
                                                  [](int64_t n, const RowSize& s) { return n + s.rows; }));
    EXPECT_LT(plan.activations, before);
    run.session.step(rows);
    EXPECT_EQ(run.session.trainer().activation_peak(), plan.activations) << "level " << level;
    before = plan.activations;
    needed.push_back(plan.activations);
  }
  // The plan has the lowest level that fits; if none fits, the highest, and the plan reports it.
  for (int level : {0, 1, 2, 3}) {
    GoldenRun run(options_for("sigmoid"));
    const MemoryPlan plan = run.session.trainer().plan(sizes, one_step, int64_t(needed[size_t(level)]));
    EXPECT_EQ(plan.level, level);
    EXPECT_TRUE(plan.fits());
  }
  GoldenRun run(options_for("sigmoid"));
  const MemoryPlan plan = run.session.trainer().plan(sizes, one_step, int64_t(needed[3]) - 1);
  EXPECT_EQ(plan.level, 3);
  EXPECT_FALSE(plan.fits());
}

// A step is cut when the micro-batch is full; the largest micro-batch determines the plan.
TEST(GoldenTraining, ThePlanIsForTheLargestMicroBatchOfAnyStep) {
  TrainerOptions options = options_for("sigmoid");
  options.micro_batch_tokens = 100;
  GoldenRun run(options);
  // Image rows and features of a size must be possible for images: one of each here.
  const std::vector<RowSize> sizes = {{60, 10, 1, 1},  {30, 10, 1, 1}, {20, 10, 1, 1}, {90, 10, 1, 1},
                                      {300, 10, 1, 1}, {50, 10, 1, 1}, {60, 10, 1, 1}};
  const std::vector<int64_t> steps = {4, 7}, without_the_long_one = {4};
  EXPECT_EQ(run.session.trainer().plan(sizes, steps, kNoLimit).largest_batch, 300);
  EXPECT_EQ(run.session.trainer().plan(sizes, without_the_long_one, kNoLimit).largest_batch, 90);
}

// Recomputing does the same arithmetic, so results are equal, not only close.
TEST(GoldenTraining, RecomputeLevelsGiveTheSameBits) {
  const std::string file = testing::TempDir() + "/gradients-level.safetensors";
  std::vector<std::vector<float>> gradients;
  for (int level : {0, 1, 2, 3}) {
    TrainerOptions options = options_for("sigmoid");
    options.recompute = level;
    GoldenRun run(options);
    run.session.save_gradients(rows_with(1), file);
    const Tensor flat = run.session.trainer().trainable().store.flat_grad();
    gradients.emplace_back(flat.as<float>(), flat.as<float>() + flat.numel());
  }
  for (int level : {1, 2, 3}) EXPECT_EQ(gradients[0], gradients[size_t(level)]) << "level " << level;
  std::filesystem::remove(file);
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[size_t(q * double(values.size() - 1))];
}

TEST(GoldenTraining, FiveAdamWStepsEqualPyTorch) {
  struct Case {
    const char* name;
    double lr, p99, p999;
  };
  for (const Case& c : {Case{"0.001", 1e-3, 0.01, 0.05}, Case{"2e-06", 2e-6, 0.03, 0.1}}) {
    TrainerOptions options = options_for("sigmoid");
    options.lr = c.lr;
    options.weight_decay = 0.01;
    options.total_steps = 6;
    options.warmup = 1;
    GoldenRun run(options);
    const Json& want = at(at(golden().json, "losses"), "steps lr " + std::string(c.name));
    for (size_t s = 0; s < 5; ++s) {
      const StepResult result = run.session.step(rows_with(1));
      EXPECT_NEAR(result.loss, at(want, "loss").array()[s].number(), 5e-5) << "step " << s;
      EXPECT_NEAR(result.grad_norm, at(want, "grad_norm").array()[s].number(), 1e-3 * (1 + result.grad_norm))
          << "step " << s;
    }
    const Safetensors steps(kGolden + "/steps.safetensors");
    ParameterStore& store = run.session.trainer().trainable().store;
    std::vector<double> differences;
    for (size_t i = 0; i < store.parameters().size(); ++i) {
      const Tensor got = store.master(int(i)),
                   expected = steps.view(std::string(c.name) + "/" + store.parameters()[i].name);
      for (int64_t k = 0; k < got.numel(); ++k)
        differences.push_back(std::abs(double(got.as<float>()[k]) - expected.as<float>()[k]) / c.lr);
    }
    EXPECT_LE(quantile(differences, 0.99), c.p99) << c.name;
    EXPECT_LE(quantile(differences, 0.999), c.p999) << c.name;
    EXPECT_LE(quantile(differences, 1), 2) << c.name;
  }
}

TEST(GoldenTraining, AResumedRunEqualsAnUninterruptedOneBitForBit) {
  const std::string file = testing::TempDir() + "/state.safetensors";
  TrainerOptions options = options_for("sigmoid");
  options.lr = 1e-3;
  options.total_steps = 4;
  GoldenRun straight(options), first(options), second(options);
  for (int s = 0; s < 4; ++s) straight.session.step(rows_with(1));
  for (int s = 0; s < 2; ++s) first.session.step(rows_with(1));
  first.session.save_state(file);
  second.session.restore(file);
  EXPECT_EQ(second.session.steps_done(), 2);
  for (int s = 0; s < 2; ++s) second.session.step(rows_with(1));
  const Tensor a = straight.session.trainer().trainable().store.flat_master(),
               b = second.session.trainer().trainable().store.flat_master();
  EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes()), 0);
  std::filesystem::remove(file);
}

TEST(GoldenTraining, AtTheStartRewardsAreZeroAndSwappingFlipsTheMargin) {
  TrainerOptions options = options_for("sigmoid");
  Context ctx{Device::cpu, 2};
  Model model{kFixtures + "/demo/tiny-llava", Device::cpu, DType::f32, kClipNormalisation};
  TrainSession fresh(ctx, model, options, "");
  auto rows = rows_with(1);
  const auto start = fresh.score(rows, true);
  for (size_t n = 0; n < rows.size(); ++n) rows[n].row.ref = start[n].policy;
  EXPECT_NEAR(fresh.trainer().accumulate({}, {}).loss, 0, 0);
  const std::string file = testing::TempDir() + "/zero.safetensors";
  EXPECT_NEAR(fresh.save_gradients(rows, file).loss, std::log(2.0), 1e-6);

  GoldenRun run(options);
  auto swapped = rows_with(1);
  for (SessionRow& s : swapped) {
    std::swap(s.row.segments[1].token_ids, s.row.segments[2].token_ids);
    std::swap(s.row.ref[0], s.row.ref[1]);
  }
  const auto a = run.session.save_gradients(rows_with(1), file), b = run.session.save_gradients(swapped, file);
  for (size_t n = 0; n < a.rows.size(); ++n) {
    const auto margin = [](const RowResult& r, const std::vector<double>& ref) {
      return (r.policy[0] - ref[0]) - (r.policy[1] - ref[1]);
    };
    EXPECT_NEAR(margin(a.rows[n], golden().rows[n].reference), -margin(b.rows[n], swapped[n].row.ref), 1e-3);
  }
  std::filesystem::remove(file);
}

TEST(GoldenTraining, ANonFiniteReferenceStopsBeforeTheStepWithTheIds) {
  GoldenRun run(options_for("sigmoid"));
  auto rows = rows_with(1);
  rows[2].row.ref[0] = std::nan("");
  const Tensor flat = run.session.trainer().trainable().store.flat_master();
  const std::vector<float> before(flat.as<float>(), flat.as<float>() + flat.numel());
  try {
    run.session.step(rows);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "nonfinite");
    EXPECT_NE(std::string(error.what()).find(rows[2].row.id), std::string::npos) << error.what();
  }
  EXPECT_EQ(std::memcmp(before.data(), flat.data, flat.bytes()), 0);
}

TEST(GoldenTraining, ARowThatLacksAnInputOfTheLossIsNamed) {
  GoldenRun run(options_for("sigmoid"));
  auto rows = rows_with(1);
  rows[1].row.ref.clear();
  EXPECT_THROW(run.session.step(rows), Error);
  EXPECT_THROW(run.session.step(rows_with(0)), Error);
}

}  // namespace
}  // namespace vpref
