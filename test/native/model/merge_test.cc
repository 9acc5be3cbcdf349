// SPDX-License-Identifier: Apache-2.0
// A merged checkpoint gives the results of the adapter at run time.
#include "model/merge.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/error.h"
#include "train/session.h"

namespace vpref {
namespace {

const std::string kModel = std::string(VPREF_FIXTURES) + "/demo/tiny-llava";
const std::string kAdapter = std::string(VPREF_FIXTURES) + "/golden/train/adapter";

double text_logps(const std::string& dir, const std::string& adapter) {
  Context ctx{Device::cpu, 2};
  Model model(dir, Device::cpu, DType::f32);
  if (!adapter.empty()) model.add_adapter(adapter);
  TrainerOptions options;
  options.loss = parse_losses("sft");
  options.trainable.lora_r = 1;
  TrainSession session(ctx, model, options, "");
  SessionRow row;
  row.row.segments = {{.parent = -1, .token_ids = {1, 334, 261, 311, 433, 434}},
                      {.parent = 0, .token_ids = {369, 340, 463, 321, 322, 2}, .branch = 0}};
  return session.score({row}, true)[0].policy[0];
}

TEST(Merge, EqualsTheAdapterAtRunTime) {
  const std::string out = testing::TempDir() + "/vpref-merged";
  for (DType dtype : {DType::f32, DType::f16}) {
    std::filesystem::remove_all(out);
    std::filesystem::create_directories(out);
    for (const char* file :
         {"config.json", "preprocessor_config.json", "processor_config.json", "generation_config.json"}) {
      std::filesystem::copy(kModel + "/" + file, out + "/" + file);
    }
    Context ctx{Device::cpu, 2};
    Model model(kModel, Device::cpu, DType::f32);
    model.add_adapter(kAdapter);
    const MergeResult result = write_merged(ctx, model, {.dir = out, .dtype = dtype});
    EXPECT_EQ(result.num_merged, 28);
    if (dtype == DType::f32) {
      EXPECT_EQ(result.relative_error, 0);
    } else {
      EXPECT_GT(result.relative_error, 0);
      EXPECT_LT(result.relative_error, 0.05);
    }
    const double with_adapter = text_logps(kModel, kAdapter), merged = text_logps(out, ""),
                 base = text_logps(kModel, "");
    EXPECT_NEAR(merged, with_adapter, dtype == DType::f32 ? 1e-3 : 5e-2);
    EXPECT_GT(std::abs(base - with_adapter), 0.5) << "the adapter matters";
  }
  std::filesystem::remove_all(out);
}

// Merges into the packed base that it was trained on, and into the full base; the reported difference equals the real
// one.
TEST(Merge, MeasuresWhatPackingChanges) {
  const std::string out = testing::TempDir() + "/vpref-merged-packed-" + std::to_string(::getpid());
  std::filesystem::create_directories(out);
  Context ctx{Device::cpu, 2};
  for (const Packing packing : {Packing::nf4, Packing::int8}) {
    double change = 0;
    for (const Packing onto : {Packing::none, packing}) {
      Model model(kModel, Device::cpu, DType::f32);
      model.pack_base(onto);
      model.add_adapter(kAdapter);
      const MergeResult result = write_merged(ctx, model, {.dir = out, .dtype = DType::f32, .trained_on = packing});
      EXPECT_GT(result.packing_change, packing == Packing::nf4 ? 0.05 : 0.002);
      EXPECT_LT(result.packing_change, packing == Packing::nf4 ? 0.12 : 0.02);
      EXPECT_GT(result.packing_change_of_delta, 0);
      if (onto == Packing::none) change = result.packing_change;
      EXPECT_EQ(result.packing_change, change);
    }
  }
  std::filesystem::remove_all(out);
}

TEST(Merge, RefusesBf16) {
  Context ctx{Device::cpu, 1};
  Model model(kModel, Device::cpu, DType::f32);
  EXPECT_THROW(write_merged(ctx, model, {.dir = testing::TempDir(), .dtype = DType::bf16}), Error);
}

}  // namespace
}  // namespace vpref
