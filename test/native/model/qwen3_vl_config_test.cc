// SPDX-License-Identifier: Apache-2.0
// config.json of Qwen3-VL: both styles, the class's own values, what is refused (transformers 5.18.0).
// Covers families/qwen3_vl/qwen3_vl.cc families/qwen3_vl/vision.cc
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "families/family.h"

namespace vpref {
namespace {

struct Parsed {
  ModelConfig config;
  std::unique_ptr<Vision> vision;
};

Parsed parse(std::string text) {
  std::replace(text.begin(), text.end(), '\'', '"');
  const Json json = Json::parse(text, "config.json");
  const ConfigReader reader(json, "config.json");
  const Family& family = find_family(reader);
  Parsed p{family.parse_config(reader), nullptr};
  p.vision = family.make_vision(reader, p.config);
  return p;
}

std::string config(const std::string& top, const std::string& text, const std::string& vision) {
  return "{'model_type': 'qwen3_vl'" + top + ", 'text_config': {'model_type': 'qwen3_vl_text'" + text +
         "}, 'vision_config': {'out_hidden_size': 4096" + vision + "}}";
}

void expect_refused(const std::string& json, const std::string& part) {
  try {
    parse(json);
    ADD_FAILURE() << "taken: " << json;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << "expected '" << part << "' in: " << e.what();
  }
}

TEST(Qwen3VlConfig, BothStylesAreTheSameModel) {
  const std::string hub =
                        ", 'head_dim': 20, 'rope_theta': 5000000, 'rope_scaling': {'mrope_interleaved': true, "
                        "'mrope_section': [4, 3, 3], 'rope_type': 'default'}, 'tie_word_embeddings': true",
                    v5 = ", 'head_dim': 20, 'rope_parameters': {'mrope_interleaved': true, 'mrope_section': [4, 3, 3], "
                         "'rope_type': 'default', 'rope_theta': 5000000}";
  for (const std::string& text : {hub, v5}) {
    const TextConfig t = parse(config("", text, "")).config.text;
    EXPECT_EQ(t.num_position_axes, 3);
    EXPECT_EQ(t.rope_axis, (std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0, 1, 2, 0}));
    EXPECT_NEAR(t.inv_freq.back(), std::pow(5e6, -18.0 / 20), 1e-10);
    EXPECT_TRUE(t.qk_norm);
    EXPECT_FALSE(t.tie_word_embeddings);  // config.json's own key alone says it
    EXPECT_FALSE(t.bias[kQProj]);
  }
  EXPECT_TRUE(parse(config(", 'tie_word_embeddings': true", hub, "")).config.text.tie_word_embeddings);
}

TEST(Qwen3VlConfig, AbsentKeysTakeTheDefaultsOfTheConfigClass) {
  const Parsed p = parse(config("", "", ""));
  const TextConfig& t = p.config.text;
  EXPECT_EQ(t.head_dim, 128);
  EXPECT_EQ(t.num_key_value_heads, 32);
  EXPECT_EQ(t.vocab_size, 151936);
  EXPECT_NEAR(t.inv_freq.back(), std::pow(5e5, -126.0 / 128), 1e-9);
  EXPECT_EQ(t.rope_axis[58], 1);
  EXPECT_EQ(t.rope_axis[59], 2);
  for (size_t i = 60; i < 64; ++i) EXPECT_EQ(t.rope_axis[i], 0) << i;
  EXPECT_EQ(p.config.image_token_id, 151655);
  EXPECT_EQ(p.vision->num_planes(), 4);
  EXPECT_EQ(p.vision->feature_width(), 4 * 1152);
  EXPECT_EQ(p.config.modules.connector,
            (std::vector<std::string>{"merger", "deepstack_merger_list.0", "deepstack_merger_list.1",
                                      "deepstack_merger_list.2"}));
  const ImageLayout layout = p.vision->layout({0, 0, {{96, 64}}});  // patches of 16, merged by 2
  EXPECT_EQ(layout.runs, std::vector<int32_t>{6});
  EXPECT_EQ(layout.position_span, 3);
  EXPECT_EQ(layout.offsets[3], (std::array<int32_t, 3>{0, 1, 1}));
  EXPECT_THROW(p.vision->layout({0, 0, {{96, 48}}}), Error);
  EXPECT_EQ(parse(config("", "", ", 'deepstack_visual_indexes': []")).vision->num_planes(), 1);
}

// transformers refuses a list of another length and ignores what it says.
TEST(Qwen3VlConfig, EveryLayerSeesEverything) {
  const auto types = [](const std::string& list) {
    return config("", ", 'num_hidden_layers': 2, 'layer_types': " + list, "");
  };
  EXPECT_EQ(parse(types("['full_attention', 'full_attention']")).config.text.windows, (std::vector<int32_t>{0, 0}));
  EXPECT_EQ(parse(types("null")).config.text.windows, (std::vector<int32_t>{0, 0}));
  for (const char* list : {"['full_attention', 'sliding_attention']", "['full_attention']", "[]"})
    expect_refused(types(list), "layer_types: expected \"full_attention\" for each of 2 layers");
}

TEST(Qwen3VlConfig, UnsupportedSettingsAreRefusedByName) {
  expect_refused(config("", ", 'rope_scaling': {'mrope_interleaved': false}", ""), "mrope_interleaved: expected true");
  expect_refused(config("", ", 'rope_scaling': {'mrope_section': [24, 20]}", ""), "mrope_section");
  expect_refused(config("", "", ", 'deepstack_visual_indexes': [5, 27]"), "deepstack_visual_indexes: expected");
  expect_refused(config("", "", ", 'deepstack_visual_indexes': [8, 5]"), "deepstack_visual_indexes: expected");
  expect_refused(config("", "", ", 'hidden_act': 'gelu'"), "hidden_act: expected \"gelu_pytorch_tanh\"");
  expect_refused(config("", "", ", 'in_channels': 1"), "in_channels");
  expect_refused(config("", "", ", 'rope_parameters': {'rope_type': 'default'}"), "rope_type: expected \"axial\"");
  expect_refused(config("", ", 'hidden_size': 2048", ""), "out_hidden_size");
  expect_refused(config(", 'quantization_config': {}", "", ""), "quantization_config");
  expect_refused("{'model_type': 'qwen3_vl_moe'}", "the nearest family is qwen3_vl;");
}

}  // namespace
}  // namespace vpref
