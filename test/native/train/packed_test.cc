// SPDX-License-Identifier: Apache-2.0
// LoRA on a packed base: compared with the unpacked base, and with finite differences.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/packed_weight.h"
#include "model/safetensors.h"
#include "support/golden.h"
#include "train/session.h"

namespace vpref {
namespace {

std::vector<SessionRow> text_rows() {
  std::vector<SessionRow> rows;
  for (int32_t i = 0; i < 3; ++i) {
    SessionRow s;
    s.row.id = std::to_string(i);
    s.row.num_rejected = 1;
    s.row.segments = {{.parent = -1, .token_ids = {1, 20 + i, 300, 45, 7 * i}},
                      {.parent = 0, .token_ids = {50, 61 + i, 2}, .branch = 0},
                      {.parent = 0, .token_ids = {88, 2}, .branch = 1}};
    s.row.ref = {-9.5, -8.0};
    rows.push_back(std::move(s));
  }
  return rows;
}

TrainerOptions dpo() {
  TrainerOptions o;
  o.loss = parse_losses("sigmoid");
  o.trainable.lora_r = 4;
  o.trainable.lora_alpha = 8;
  o.trainable.seed = 5;
  return o;
}

// A packed model, or an unpacked one with the same weights.
struct TrainingRun {
  Context ctx{Device::cpu, 2};
  Model model{golden::fixture("tiny-text"), Device::cpu, DType::f32};
  std::vector<std::vector<float>> unpacked;
  std::unique_ptr<TrainSession> session;
  TrainingRun(Packing packing, bool dense) {
    model.pack_base(packing);
    model.prepare(ctx);
    for (DecoderLayer& layer : model.weights.layers)
      for (Linear& l : layer.linears) {
        if (!dense) continue;
        const int64_t n = l.outputs(), k = l.inputs();
        std::vector<float>& values = unpacked.emplace_back(size_t(n * k));
        for (int64_t i = 0; i < n; ++i) unpack_row(l.packed, i, 0, k, values.data() + i * k);
        l.packed = {};
        l.weight = Tensor(values.data(), DType::f32, {n, k});
      }
    session = std::make_unique<TrainSession>(ctx, model, dpo(), "");
  }
  // Makes both matrices of every pair nonzero.
  void leave_start() {
    const Tensor all = session->trainer().trainable().store.flat_master();
    for (int64_t i = 0; i < all.numel(); ++i) all.as<float>()[i] += 0.05f * std::sin(float(i % 977));
  }
  double loss_and_gradients(const std::string& file) { return session->save_gradients(text_rows(), file).loss; }
};

class PackedTraining : public testing::TestWithParam<Packing> {
 protected:
  std::string file = (std::filesystem::temp_directory_path() / ("vpref-packed-" + std::to_string(::getpid()))).string();
  void TearDown() override {
    for (const char* end : {".a", ".b", ".c"}) std::filesystem::remove(file + end);
  }
};

TEST_P(PackedTraining, GradientsEqualThoseOfTheUnpackedBase) {
  TrainingRun packed(GetParam(), /*dense=*/false), dense(GetParam(), /*dense=*/true);
  for (TrainingRun* run : {&packed, &dense}) run->leave_start();
  const double loss = packed.loss_and_gradients(file + ".a"), expected = dense.loss_and_gradients(file + ".b");
  EXPECT_NEAR(loss, expected, 1e-6);  // a scale multiplies a sum, not each weight
  const Safetensors got(file + ".a"), want(file + ".b");
  ASSERT_GT(want.tensors().size(), 0u);
  for (const auto& [name, stored] : want.tensors()) {
    const Tensor g = got.view(name), w = want.view(name);
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < w.numel(); ++i) {
      difference += std::pow(double(g.as<float>()[i]) - w.as<float>()[i], 2);
      norm += std::pow(double(w.as<float>()[i]), 2);
    }
    EXPECT_GT(norm, 0) << name;
    EXPECT_LE(std::sqrt(difference), 1e-4 * std::sqrt(norm)) << name;
  }
  for (int step = 0; step < 3; ++step)
    EXPECT_NEAR(packed.session->step(text_rows()).loss, dense.session->step(text_rows()).loss, 1e-5);
}

TEST_P(PackedTraining, GradientsEqualFiniteDifferences) {
  TrainingRun run(GetParam(), /*dense=*/false);
  run.leave_start();
  run.loss_and_gradients(file + ".a");
  const ParameterStore& store = run.session->trainer().trainable().store;
  // Along each tensor's gradient the loss grows by the gradient's norm.
  for (size_t p = 0; p < store.parameters().size(); p += 3) {
    const Tensor master = store.master(int(p));
    const Safetensors gradients(file + ".a");
    const auto found = std::find_if(gradients.tensors().begin(), gradients.tensors().end(),
                                    [&](const auto& t) { return t.first.ends_with(store.parameters()[p].name); });
    ASSERT_NE(found, gradients.tensors().end()) << store.parameters()[p].name;
    const Tensor grad = gradients.view(found->first);
    double length = 0;
    for (int64_t i = 0; i < grad.numel(); ++i) length += std::pow(double(grad.as<float>()[i]), 2);
    length = std::sqrt(length);
    const double step = 0.02;
    const auto move = [&](double by) {
      for (int64_t i = 0; i < grad.numel(); ++i) master.as<float>()[i] += float(by * grad.as<float>()[i] / length);
    };
    move(step);
    const double up = run.loss_and_gradients(file + ".b");
    move(-2 * step);
    const double down = run.loss_and_gradients(file + ".c");
    move(step);
    EXPECT_NEAR((up - down) / (2 * step), length, 0.01 * length + 1e-4) << store.parameters()[p].name;
  }
}

void expect_not_trained(Context& ctx, Model& model) {
  TrainerOptions options = dpo();
  options.trainable.lora_r = 0;
  options.trainable.language_model = true;
  try {
    TrainSession(ctx, model, options, "");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("expected weights that are not packed"), std::string::npos) << e.what();
  }
}

TEST_P(PackedTraining, PackedWeightsAreNotTrained) {
  Context ctx(Device::cpu, 1);
  Model model(golden::fixture("tiny-text"), Device::cpu, DType::f32);
  model.pack_base(GetParam());
  expect_not_trained(ctx, model);
}

// As in a 4-bit checkpoint whose skip list leaves out the decoder.
TEST_P(PackedTraining, APackedHeadIsNotTrained) {
  Context ctx(Device::cpu, 1);
  Model model(golden::fixture("tiny-text"), Device::cpu, DType::f32);
  model.prepare(ctx);
  Linear& head = model.weights.lm_head;
  const Buffer memory(Device::cpu, packed_bytes(GetParam(), head.outputs(), head.inputs()));
  head.packed = pack_matrix(head.weight, GetParam(), memory.data(), 1, "head");
  head.weight = Tensor();
  expect_not_trained(ctx, model);
}

INSTANTIATE_TEST_SUITE_P(Forms, PackedTraining, testing::Values(Packing::nf4, Packing::int8));

}  // namespace
}  // namespace vpref
