// SPDX-License-Identifier: Apache-2.0
// Which parameters are trained.
#include "train/trainable.h"

#include <gtest/gtest.h>

#include <set>

#include "model/load.h"

namespace vpref {
namespace {

std::set<std::string> names_of(const Trainable& t) {
  std::set<std::string> names;
  for (const Parameter& p : t.store.parameters()) names.insert(p.name);
  return names;
}

TEST(Trainable, TheLanguageModelIsTrainedWithTheBiasesItHas) {
  Context ctx(Device::cpu);
  Model model(std::string(VPREF_FIXTURES) + "/tiny-text", Device::cpu, DType::f32);
  model.prepare(ctx);
  Linear& q = model.weights.layers[1].linears[kQProj];
  ASSERT_TRUE(q.bias);  // this checkpoint has biases only on attention's linears
  const Tensor stored = q.bias;
  const Trainable trained(ctx, model.config, model.weights, DType::f32, {.language_model = true});
  const std::set<std::string> names = names_of(trained);
  for (const char* path : {"layers.0.self_attn.q_proj.weight", "layers.1.self_attn.q_proj.bias",
                           "layers.1.mlp.down_proj.weight", "layers.1.input_layernorm.weight", "norm.weight"})
    EXPECT_TRUE(names.contains(std::string("model.") + path)) << path;
  EXPECT_FALSE(names.contains("model.layers.1.mlp.down_proj.bias"));
  // The model reads the trained value, and the gradient has memory.
  EXPECT_NE(q.bias.data, stored.data);
  for (int64_t i = 0; i < stored.numel(); ++i) EXPECT_EQ(q.bias.as<float>()[i], stored.as<float>()[i]);
  EXPECT_EQ(cat(trained.layers[1].linears[kQProj].bias), cat(q.bias));
  for (const Parameter& p : trained.store.parameters()) {
    EXPECT_EQ(p.group, p.shape[1] == 1 ? kMainNoDecay : kMain) << p.name;
  }
}

TEST(Trainable, AnAdapterIsAddedToItsTargetsInEveryLayer) {
  Context ctx(Device::cpu);
  Model model(std::string(VPREF_FIXTURES) + "/tiny-text", Device::cpu, DType::f32);
  model.prepare(ctx);
  const Trainable all(ctx, model.config, model.weights, DType::f32, {.lora_r = 2, .lora_alpha = 4});
  EXPECT_EQ(names_of(all).size(), 2 * kNumLinears * model.weights.layers.size());
  for (DecoderLayer& l : model.weights.layers) {
    for (Linear& linear : l.linears) linear.adapters.clear();
  }
  const Trainable two(ctx, model.config, model.weights, DType::f32,
                      {.lora_r = 2, .lora_alpha = 4, .lora_targets = {"v_proj", "down_proj"}});
  EXPECT_EQ(names_of(two).size(), 4 * model.weights.layers.size());
  EXPECT_TRUE(names_of(two).contains("model.layers.1.mlp.down_proj.lora_B.weight"));
}

}  // namespace
}  // namespace vpref
