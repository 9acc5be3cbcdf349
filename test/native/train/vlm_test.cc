// SPDX-License-Identifier: Apache-2.0
// Training with pictures, once per vision-language family: several rejected answers, a noisy picture as the rejected
// image, several pictures, rows without any, in one batch. Each branch is that of its own row; recompute levels,
// micro-batches and ranks change no gradient; what is planned is enough.
// Covers native/train/session.cc
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "support/families.h"
#include "support/vlm.h"

namespace vpref {
namespace {

constexpr double kRounding = 5e-4;  // another order of sums
constexpr double kGradient = 2e-4;

// Arbitrary reference values: they only have to be given.
const std::vector<double> kRef = {-50, -20, -30, -60};

class VlmTraining : public testing::TestWithParam<const char*> {
 protected:
  const golden::OwnVlm own{GetParam()};
  const std::string file = cat(testing::TempDir(), "/vlm-", getpid(), "-", golden::own_vlm_name(GetParam()));
  void TearDown() override {
    std::filesystem::remove(file);
    std::filesystem::remove(file + ".other");
  }

  // The second root is the same prompt with noisy images; `with_noise` false: with the first root's images.
  SessionRow row(const Json& from, bool with_noise = true) const {
    const std::vector<int32_t> prompt = golden::integers(*from.find("prompt_ids"));
    const std::vector<Json>& answers = from.find("answers")->array();
    std::vector<std::vector<int32_t>> ids;
    for (size_t i = 0; i < 2; ++i) ids.push_back(golden::integers(*answers[i].find("ids")));
    ids.emplace_back(ids[0].rbegin(), ids[0].rend());
    SessionRow s;
    s.row.id = from.find("id")->string();
    s.row.num_rejected = 2;
    s.row.num_rejected_images = 1;
    s.row.ref = kRef;
    s.images = own.images(from);
    const int32_t count = int32_t(s.images.size());
    std::vector<int32_t> clean, noisy;
    for (int32_t i = 0; i < count; ++i) {
      clean.push_back(i);
      noisy.push_back(count + i);
      s.images.push_back(s.images[size_t(i)]);
      if (with_noise) s.images.back().diffusion = DiffusionRecipe{.step = 600, .seed = uint64_t(7 + i)};
    }
    s.row.segments.push_back({.parent = -1, .token_ids = prompt, .images = clean});
    for (int32_t k = 0; k < 3; ++k) s.row.segments.push_back({.parent = 0, .token_ids = ids[size_t(k)], .branch = k});
    s.row.segments.push_back({.parent = -1, .token_ids = prompt, .images = noisy});
    s.row.segments.push_back({.parent = 4, .token_ids = ids[0], .branch = 3});
    return s;
  }
  // Rows with one image, two, and none.
  std::vector<SessionRow> batch() const {
    const std::vector<Json>& rows = own.rows.array();
    std::vector<SessionRow> out = {row(rows[0]), row(rows[1]), row(rows[0])};
    SessionRow& text = out.back();
    text.images.clear();
    text.row.id = "none";
    for (SegmentInput& s : text.row.segments) {
      if (s.parent < 0) s = {.parent = -1, .token_ids = {13, 14, 15, 16, 17}};
    }
    return out;
  }
};

struct VlmRun {
  Context ctx{Device::cpu, 1};
  Model model;
  TrainSession session;
  VlmRun(const golden::OwnVlm& own, TrainerOptions options, std::unique_ptr<Collective> world = single_process())
      : model(own.dir + "/ckpt", Device::cpu, DType::f32, own.normalisation()),
        session(ctx, model, std::move(options), "", std::move(world)) {}
};

TrainerOptions options_for(const char* loss, int level) {
  TrainerOptions o;
  o.loss = parse_losses(loss);
  o.trainable.lora_r = 3;
  o.trainable.lora_alpha = 6;
  o.trainable.projector = true;
  o.recompute = level;
  return o;
}

// mdpo accepts one rejected response.
std::vector<SessionRow> for_mdpo(std::vector<SessionRow> rows) {
  for (SessionRow& s : rows) {
    s.row.num_rejected = 1;
    s.row.segments.erase(s.row.segments.begin() + 3);
    s.row.segments[3].parent = -1;
    s.row.segments[4].parent = 3;
    s.row.segments[4].branch = 2;
    s.row.ref.erase(s.row.ref.begin() + 2);
  }
  return rows;
}

TEST_P(VlmTraining, EachBranchEqualsThatOfASeparateRow) {
  VlmRun run(own, options_for("softmax", 0));
  const std::vector<SessionRow> rows = batch();
  const std::vector<RowResult> together = run.session.score(rows, /*adapter_on=*/true);
  std::vector<SessionRow> alone;
  for (const SessionRow& from : rows) {
    for (const SegmentInput& response : from.row.segments) {
      if (response.branch < 0) continue;
      SessionRow& s = alone.emplace_back();
      s.row.id = from.row.id;
      const SegmentInput& root = from.row.segments[size_t(response.parent)];
      s.row.segments = {root, {.parent = 0, .token_ids = response.token_ids, .branch = 0}};
      s.row.segments[0].images.clear();
      for (const int32_t image : root.images) {
        s.row.segments[0].images.push_back(int32_t(s.images.size()));
        s.images.push_back(from.images[size_t(image)]);
      }
    }
  }
  size_t at = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(together[i].policy.size(), 4u);
    for (size_t b = 0; b < 4; ++b)
      EXPECT_NEAR(together[i].policy[b], run.session.score({alone[at++]}, true)[0].policy[0], kRounding)
          << "row " << i << " branch " << b;
  }
  // Noise changes the result, but only of rows with an image.
  EXPECT_GT(std::abs(together[0].policy[3] - together[0].policy[0]), 1e-2);
  EXPECT_NEAR(together[2].policy[3], together[2].policy[0], kRounding);
  const SessionRow clean = row(own.rows.array()[0], /*with_noise=*/false);
  const RowResult same = run.session.score({clean}, true)[0];
  EXPECT_NEAR(same.policy[3], same.policy[0], kRounding);
}

TEST_P(VlmTraining, LevelsAndMicroBatchesChangeNoGradient) {
  for (const char* loss : {"softmax", "mdpo"}) {
    const std::vector<SessionRow> rows = loss == std::string("mdpo") ? for_mdpo(batch()) : batch();
    double first = 0;
    for (const int level : {0, 1, 2, 3}) {
      SCOPED_TRACE(cat(loss, " level ", level));
      TrainerOptions options = options_for(loss, level);
      options.micro_batch_tokens = level % 2 == 0 ? 1 << 16 : 32;  // all together, or each alone
      VlmRun run(own, options);
      const double value = run.session.save_gradients(rows, level == 0 ? file : file + ".other").loss;
      if (level == 0) {
        first = value;
        continue;
      }
      EXPECT_NEAR(value, first, 2e-5);
      golden::expect_gradients(file + ".other", file, kGradient);
    }
  }
}

TEST_P(VlmTraining, ThePlannedMemorySuffices) {
  const std::vector<SessionRow> rows = batch();
  const std::vector<int64_t> one_step = {int64_t(rows.size())};
  for (const int level : {0, 1, 2, 3}) {
    VlmRun run(own, options_for("softmax", level));
    std::vector<RowSize> sizes;
    for (const SessionRow& s : rows) {
      RowSize& size = sizes.emplace_back();
      for (const SegmentInput& segment : s.row.segments) {
        size.rows += int64_t(segment.token_ids.size());
        if (segment.branch >= 0) size.targets += int64_t(segment.token_ids.size());
      }
      for (const Image& image : s.images) {
        size.image_rows += run.model.vision().layout(image_shape(image)).num_rows();
        size.features += run.model.vision().num_features(image_shape(image));
        for (const Crop& crop : image.crops) size.pixel_bytes += int64_t(crop.pixels.size());
      }
    }
    const MemoryPlan plan = run.session.plan(sizes, one_step, kNoLimit);
    run.session.step(rows);
    EXPECT_LE(run.session.trainer().activation_peak(), plan.activations) << "level " << level;
    EXPECT_GT(run.session.trainer().activation_peak(), plan.activations / 2) << "level " << level;
  }
}

// Under mpiexec two ranks share the rows; otherwise there is one rank.
TEST_P(VlmTraining, RanksMakeTheStepOfOneProcess) {
  const char* text = std::getenv("VPREF_TEST_RANKS");
  const int size = text ? std::atoi(text) : 1;
  if (size == 1) GTEST_SKIP() << "one rank";
  TrainerOptions options = options_for("softmax", 0);
  options.lr = 1e-3;
  options.schedule = Schedule::constant;
  std::vector<SessionRow> rows = batch();
  rows.push_back(rows[1]);
  VlmRun whole(own, options);
  const StepResult alone = whole.session.step(rows);
  VlmRun part(own, options, join_world({.size = size, .device = Device::cpu, .library_folder = ""}));
  const auto at = [&](int rank) { return rows.begin() + int64_t(rows.size()) * rank / size; };
  const int rank = part.session.world().rank();
  const StepResult shared = part.session.step({at(rank), at(rank + 1)});
  EXPECT_NEAR(shared.loss, alone.loss, 2e-5);
  EXPECT_NEAR(shared.grad_norm, alone.grad_norm, 1e-4 * alone.grad_norm);
}

INSTANTIATE_TEST_SUITE_P(All, VlmTraining, testing::ValuesIn(golden::kOwnVlm),
                         [](const auto& info) { return golden::own_vlm_name(info.param); });

}  // namespace
}  // namespace vpref
