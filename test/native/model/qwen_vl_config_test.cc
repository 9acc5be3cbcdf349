// SPDX-License-Identifier: Apache-2.0
// config.json of Qwen2-VL and Qwen2.5-VL in every style, and what an image is among the tokens (transformers 5.18.0).
// Covers families/qwen2_vl/qwen2_vl.cc families/qwen2_vl/vision.cc families/qwen2_5_vl/qwen2_5_vl.cc
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "families/family.h"

namespace vpref {
namespace {

// Both halves of what config.json says.
struct Parsed {
  ModelConfig config;
  std::unique_ptr<Vision> vision;
};

Parsed parse(const std::string& text) {
  const Json json = Json::parse(text, "config.json");
  const ConfigReader reader(json, "config.json");
  const Family& family = find_family(reader);
  Parsed p{family.parse_config(reader), nullptr};
  p.vision = family.make_vision(reader, p.config);
  return p;
}

std::string quoted(std::string text) {
  for (char& c : text) {
    if (c == '\'') c = '"';
  }
  return text;
}

const std::string kText =
    "'hidden_size': 48, 'num_hidden_layers': 2, 'num_attention_heads': 3, 'num_key_value_heads': 1, 'vocab_size': 99, "
    "'intermediate_size': 50";
const std::string kVision2 = "'hidden_size': 48, 'embed_dim': 24, 'num_heads': 3, 'depth': 1";
const std::string kVision25 = "'hidden_size': 24, 'out_hidden_size': 48, 'num_heads': 3, 'depth': 9";

std::string flat(const std::string& type, const std::string& text, const std::string& vision) {
  return quoted("{'model_type': '" + type + "', 'image_token_id': 7, " + kText + ", " + text + ", 'vision_config': {" +
                vision + "}}");
}
std::string nested(const std::string& type, const std::string& top, const std::string& text,
                   const std::string& vision) {
  return quoted("{'model_type': '" + type + "', 'image_token_id': 7, " + top + ", 'text_config': {" + kText + ", " +
                text + "}, 'vision_config': {" + vision + "}}");
}

void expect_refused(const std::string& json, const std::string& part) {
  try {
    parse(json);
    ADD_FAILURE() << "taken: " << json;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << "expected '" << part << "' in: " << e.what();
  }
}

const std::string kHub = "'rope_theta': 1e6, 'rope_scaling': {'type': 'mrope', 'mrope_section': [2, 3, 3]}";
const std::vector<int32_t> kAxes = {0, 0, 1, 1, 1, 2, 2, 2};

TEST(QwenVlConfig, EveryStyleIsTheSameModel) {
  const std::string mixed = "'rope_theta': 1e4, 'rope_scaling': {'type': 'default', 'mrope_section': [4, 4, 0]}, " +
                            kText + ", 'tie_word_embeddings': false";
  const std::string inner =
      "'model_type': 'qwen2_vl_text', 'rope_theta': 1e6, 'sliding_window': null, 'use_sliding_window': false, "
      "'rope_scaling': {'mrope_section': [2, 3, 3], 'rope_type': 'default', 'type': 'default'}, "
      "'layer_types': ['full_attention', 'full_attention'], 'image_token_id': null";
  const std::string v5 =
      "'model_type': 'qwen2_vl_text', 'rope_parameters': {'mrope_section': [2, 3, 3], 'rope_theta': 1e6, "
      "'rope_type': 'default', 'type': 'mrope'}";
  for (const std::string& json : {flat("qwen2_vl", kHub, kVision2), nested("qwen2_vl", mixed, inner, kVision2),
                                  nested("qwen2_vl", "'dtype': 'float32'", v5, kVision2)}) {
    const TextConfig text = parse(json).config.text;
    EXPECT_EQ(text.num_position_axes, 3) << json;
    EXPECT_EQ(text.rope_axis, kAxes) << json;
    EXPECT_NEAR(text.inv_freq.back(), std::pow(1e6, -14.0 / 16), 1e-9) << json;
    EXPECT_TRUE(text.bias[kQProj] && text.bias[kKProj] && text.bias[kVProj]);
    EXPECT_FALSE(text.bias[kOProj] || text.bias[kUpProj]);
    EXPECT_EQ(text.windows, std::vector<int32_t>(2, 0));
    EXPECT_FALSE(text.tie_word_embeddings);
  }
}

TEST(QwenVlConfig, AbsentKeysTakeTheDefaultsOfTheConfigClass) {
  const Parsed p = parse(quoted(
      "{'model_type': 'qwen2_5_vl', 'text_config': {}, 'vision_config': {'hidden_size': 1280, 'out_hidden_size': "
      "8192}}"));
  EXPECT_EQ(p.config.text.hidden_size, 8192);
  EXPECT_EQ(p.config.text.num_hidden_layers, 80);
  EXPECT_EQ(p.config.text.num_key_value_heads, 8);
  EXPECT_EQ(p.config.text.vocab_size, 152064);
  EXPECT_EQ(p.config.text.rms_norm_eps, 1e-5f);
  EXPECT_EQ(p.config.image_token_id, 151655);
  EXPECT_EQ(p.config.text.rope_axis[15], 0);
  EXPECT_EQ(p.config.text.rope_axis[16], 1);
  EXPECT_EQ(p.config.text.rope_axis[40], 2);
  EXPECT_NEAR(p.config.text.inv_freq.back(), std::pow(1e6, -126.0 / 128), 1e-9);
  EXPECT_EQ(p.vision->feature_width(), 1280);
  EXPECT_EQ(p.vision->features_a_row(), 4);
}

TEST(QwenVlConfig, AHeadIsTiedWhereEitherPlaceSaysSo) {
  const auto tied = [](const std::string& top, const std::string& text) {
    return parse(nested("qwen2_vl", top, kHub + text, kVision2)).config.text.tie_word_embeddings;
  };
  EXPECT_FALSE(tied("'dtype': 'float32'", ""));
  EXPECT_TRUE(tied("'tie_word_embeddings': true", ""));
  EXPECT_TRUE(tied("'tie_word_embeddings': true", ", 'tie_word_embeddings': false"));
  EXPECT_TRUE(tied("'tie_word_embeddings': false", ", 'tie_word_embeddings': true"));
  // Null is an absent key.
  EXPECT_TRUE(tied("'tie_word_embeddings': null", ", 'tie_word_embeddings': true"));
  EXPECT_TRUE(tied("'tie_word_embeddings': true", ", 'tie_word_embeddings': null"));
  EXPECT_FALSE(tied("'tie_word_embeddings': null", ", 'tie_word_embeddings': null"));
}

TEST(QwenVlConfig, ANullHeadDimIsAbsent) {
  for (const char* type : {"qwen2_vl", "qwen2_5_vl"}) {
    const std::string vision = type == std::string("qwen2_vl") ? kVision2 : kVision25;
    EXPECT_EQ(parse(flat(type, kHub + ", 'head_dim': null", vision)).config.text.head_dim, 16);
  }
}

TEST(QwenVlConfig, UnsupportedSettingsAreRefusedByName) {
  const std::string no_window = "'use_sliding_window': false, 'sliding_window': 8, 'max_window_layers': 1, ";
  parse(flat("qwen2_vl", no_window + kHub, kVision2));
  parse(flat("qwen2_vl", "'use_sliding_window': true, 'sliding_window': 8, 'max_window_layers': 2, " + kHub, kVision2));
  expect_refused(
      flat("qwen2_vl", "'use_sliding_window': true, 'sliding_window': 8, 'max_window_layers': 1, " + kHub, kVision2),
      "use_sliding_window: expected false");
  const auto rope = [](const std::string& scaling) {
    return flat("qwen2_vl", "'rope_scaling': {" + scaling + "}", kVision2);
  };
  expect_refused(rope("'type': 'mrope', 'mrope_section': [2, 3, 4]"),
                 "mrope_section: expected three numbers with the sum 8");
  expect_refused(rope("'type': 'mrope', 'mrope_section': [4, 4]"), "mrope_section");
  expect_refused(rope("'type': 'mrope'"), "mrope_section");
  expect_refused(rope("'type': 'yarn', 'factor': 4, 'mrope_section': [2, 3, 3]"), "type: expected \"default\"");
  expect_refused(rope("'mrope_interleaved': true, 'mrope_section': [2, 3, 3]"), "mrope_interleaved: expected false");
  expect_refused(flat("qwen2_vl", kHub + ", 'quantization_config': {'quant_method': 'gptq'}", kVision2),
                 "quantization_config");
  const auto vision = [](const std::string& more) { return flat("qwen2_vl", kHub, kVision2 + ", " + more); };
  expect_refused(vision("'hidden_act': 'gelu'"), "hidden_act: expected \"quick_gelu\"");
  expect_refused(vision("'in_chans': 1"), "in_chans: expected 3");
  expect_refused(vision("'model_type': 'qwen2_5_vl'"), "vision_config: model_type");
  expect_refused(vision("'rope_parameters': {'rope_type': 'default'}"), "rope_type: expected \"axial\"");
  expect_refused(vision("'rope_scaling': {'type': 'linear', 'factor': 2}"), "type: expected \"axial\"");
  // Beside the object as inside it.
  expect_refused(vision("'rope_theta': 0"), "vision_config: rope_theta: expected a number above 1");
  expect_refused(vision("'rope_theta': null"), "vision_config: rope_theta: expected a number above 1");
  expect_refused(vision("'rope_parameters': {'rope_theta': null}"), "rope_theta: expected a number above 1");
  expect_refused(flat("qwen2_vl", kHub, "'hidden_size': 24, 'embed_dim': 24, 'num_heads': 3"),
                 "hidden_size: expected 48");
  expect_refused(flat("qwen2_vl", kHub, "'hidden_size': 48, 'embed_dim': 24, 'num_heads': 4"), "num_heads");
  expect_refused(flat("qwen2_5_vl", kHub, kVision25 + ", 'window_size': 20"), "window_size: expected at least 28");
  expect_refused(flat("qwen2_5_vl", kHub, kVision25 + ", 'hidden_act': 'gelu'"), "hidden_act: expected \"silu\"");
}

TEST(QwenVlConfig, AnImageIsItsMergedGrid) {
  const Parsed p = parse(flat("qwen2_vl", kHub, kVision2));
  const ImageShape shape{100, 50, {{84, 56}}};
  const ImageLayout layout = p.vision->layout(shape);
  EXPECT_EQ(layout.runs, std::vector<int32_t>{6});
  EXPECT_EQ(layout.position_span, 3);
  const std::vector<std::array<int32_t, 3>> offsets = {{0, 0, 0}, {0, 0, 1}, {0, 1, 0},
                                                       {0, 1, 1}, {0, 2, 0}, {0, 2, 1}};
  EXPECT_EQ(layout.offsets, offsets);
  EXPECT_EQ(p.vision->num_features(shape), 24);
  for (const CropSize& crop : {CropSize{84, 42}, CropSize{14, 28}, CropSize{0, 28}})
    EXPECT_THROW(p.vision->layout({1, 1, {crop}}), Error);
  EXPECT_THROW(p.vision->layout({1, 1, {{28, 28}, {28, 28}}}), Error);
  EXPECT_THROW(p.vision->layout({1, 1, {}}), Error);
}

}  // namespace
}  // namespace vpref
