// SPDX-License-Identifier: Apache-2.0
// config.json of the text families in every style: what transformers' classes make of it (transformers 5.18.0).
// Covers families/qwen2/qwen2.cc families/qwen3/qwen3.cc families/mistral/mistral.cc
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "families/mistral/mistral.h"
#include "families/qwen2/qwen2.h"
#include "families/qwen3/qwen3.h"

namespace vpref {
namespace {

ModelConfig parse(const std::string& text) {
  const Json json = Json::parse(text, "config.json");
  const ConfigReader reader(json, "config.json");
  return find_family(reader).parse_config(reader);
}

std::string message(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

void expect_refused(const std::string& text, const std::string& part) {
  const std::string got = message(text);
  EXPECT_NE(got.find(part), std::string::npos) << "expected '" << part << "' in: " << got;
}

using Windows = std::vector<int32_t>;
Windows windows(const std::string& type, const std::string& keys) {
  return parse("{\"model_type\": \"" + type + "\", \"num_hidden_layers\": 4, " + keys + "}").text.windows;
}

TEST(TextConfig, AbsentKeysTakeTheDefaultsOfTheConfigClass) {
  const ModelConfig qwen2 = parse(R"({"model_type": "qwen2"})"), qwen3 = parse(R"({"model_type": "qwen3"})"),
                    mistral = parse(R"({"model_type": "mistral"})");
  for (const ModelConfig* c : {&qwen2, &qwen3, &mistral}) {
    EXPECT_EQ(c->text.hidden_size, 4096);
    EXPECT_EQ(c->text.num_hidden_layers, 32);
    EXPECT_EQ(c->text.num_attention_heads, 32);
    EXPECT_EQ(c->text.rms_norm_eps, 1e-6f);
    EXPECT_EQ(c->text.head_dim, 128);
    EXPECT_FALSE(c->text.tie_word_embeddings);
    EXPECT_NEAR(c->text.inv_freq.back(), std::pow(1e4, -126.0 / 128), 1e-9);
  }
  EXPECT_EQ(qwen2.text.vocab_size, 151936);
  EXPECT_EQ(qwen2.text.intermediate_size, 22016);
  EXPECT_EQ(qwen2.text.num_key_value_heads, 32);
  EXPECT_EQ(qwen2.text.max_position_embeddings, 32768);
  EXPECT_EQ(qwen2.bos_token_id, -1);
  EXPECT_TRUE(qwen2.eos_token_ids.empty());
  EXPECT_EQ(qwen2.text.windows, Windows(32, 0));
  EXPECT_EQ(qwen3.text.vocab_size, 151936);
  EXPECT_EQ(qwen3.text.windows, Windows(32, 0));
  EXPECT_EQ(mistral.text.vocab_size, 32000);
  EXPECT_EQ(mistral.text.intermediate_size, 14336);
  EXPECT_EQ(mistral.text.num_key_value_heads, 8);
  EXPECT_EQ(mistral.text.max_position_embeddings, 131072);
  EXPECT_EQ(mistral.eos_token_ids, std::vector<int32_t>{2});
  EXPECT_EQ(mistral.text.windows, Windows(32, 4096));
}

TEST(TextConfig, BiasesAndNormsFollowTheFamily) {
  const auto biases = [](const char* config) { return parse(config).text.bias; };
  EXPECT_EQ(biases(R"({"model_type": "qwen2"})"), (PerLinear<bool>{true, true, true}));
  EXPECT_EQ(biases(R"({"model_type": "qwen3"})"), PerLinear<bool>{});
  EXPECT_EQ(biases(R"({"model_type": "qwen3", "attention_bias": true})"), (PerLinear<bool>{true, true, true, true}));
  EXPECT_EQ(biases(R"({"model_type": "mistral"})"), PerLinear<bool>{});
  EXPECT_EQ(biases(R"({"model_type": "llama", "attention_bias": true, "mlp_bias": true})"),
            (PerLinear<bool>{true, true, true, true, true, true, true}));
  EXPECT_TRUE(parse(R"({"model_type": "qwen3"})").text.qk_norm);
  EXPECT_FALSE(parse(R"({"model_type": "qwen2"})").text.qk_norm);
}

TEST(TextConfig, HeadsMayBeWiderThanTheModel) {
  const auto head_dim = [](const std::string& type, const std::string& keys) {
    return parse("{\"model_type\": \"" + type + "\", \"hidden_size\": 96, \"num_attention_heads\": 4, " + keys + "}")
        .text.head_dim;
  };
  EXPECT_EQ(head_dim("mistral", "\"head_dim\": null, \"num_key_value_heads\": 2"), 24);
  EXPECT_EQ(head_dim("mistral", "\"head_dim\": 40, \"num_key_value_heads\": 2"), 40);
  EXPECT_EQ(head_dim("qwen2", "\"num_key_value_heads\": 2"), 24);
  EXPECT_EQ(head_dim("qwen3", "\"num_key_value_heads\": 2"), 128);
  EXPECT_EQ(head_dim("qwen3", "\"head_dim\": 16, \"num_key_value_heads\": 2"), 16);
  EXPECT_EQ(parse(R"({"model_type": "mistral", "num_key_value_heads": null})").text.num_key_value_heads, 32);
  expect_refused(R"({"model_type": "qwen2", "num_attention_heads": 7, "num_key_value_heads": 7})",
                 "num_attention_heads");
}

TEST(TextConfig, WindowsOfTheQwens) {
  for (const char* type : {"qwen2", "qwen3"}) {
    EXPECT_EQ(windows(type, R"("use_sliding_window": false, "sliding_window": 8, "max_window_layers": 2)"),
              Windows(4, 0));
    EXPECT_EQ(windows(type, R"("sliding_window": 8, "max_window_layers": 0)"), Windows(4, 0));
    EXPECT_EQ(windows(type, R"("use_sliding_window": true, "sliding_window": 8, "max_window_layers": 3)"),
              (Windows{0, 0, 0, 8}));
    EXPECT_EQ(windows(type, R"("use_sliding_window": true, "sliding_window": 8)"), Windows(4, 0));  // 28 by default
    EXPECT_EQ(windows(type, R"("use_sliding_window": true, "max_window_layers": 3)"), (Windows{0, 0, 0, 4096}));
    EXPECT_EQ(windows(type, R"("use_sliding_window": true, "sliding_window": null, "max_window_layers": 0)"),
              Windows(4, 0));
    EXPECT_EQ(windows(type, R"("use_sliding_window": true, "sliding_window": 8, "max_window_layers": 3,
      "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"])"),
              (Windows{8, 0, 8, 0}));
    EXPECT_EQ(windows(type, R"("use_sliding_window": false, "sliding_window": null,
      "layer_types": ["full_attention", "full_attention", "full_attention", "full_attention"])"),
              Windows(4, 0));
    const std::string at = "{\"model_type\": \"" + std::string(type) + "\", \"num_hidden_layers\": 2, ";
    expect_refused(at + R"("layer_types": ["sliding_attention", "full_attention"]})", "layer_types");
    expect_refused(at + R"("layer_types": ["full_attention"]})", "layer_types");
    expect_refused(at + R"("layer_types": ["full_attention", "linear_attention"]})", "layer_types");
    expect_refused(at + R"("layer_types": "full_attention"})", "layer_types");
    expect_refused(at + R"("use_sliding_window": true, "sliding_window": 0})", "sliding_window");
    expect_refused(at + R"("use_sliding_window": 1})", "use_sliding_window");
  }
}

TEST(TextConfig, WindowsOfMistral) {
  EXPECT_EQ(windows("mistral", "\"sliding_window\": null"), Windows(4, 0));
  EXPECT_EQ(windows("mistral", "\"sliding_window\": 7"), Windows(4, 7));
  EXPECT_EQ(windows("mistral", "\"use_sliding_window\": false"), Windows(4, 4096));  // not a key of its own
  EXPECT_EQ(windows("mistral", R"("sliding_window": 7, "layer_types": ["sliding_attention"])"), Windows(4, 7));
  expect_refused(R"({"model_type": "mistral", "layer_types": ["full_attention"]})", "layer_types");
  expect_refused(R"({"model_type": "mistral", "sliding_window": -1})", "sliding_window");
  expect_refused(R"({"model_type": "llama", "is_causal": false})", "is_causal: expected true");
  expect_refused(R"({"model_type": "llama", "rope_theta": null})", "rope_theta: expected a number");
}

// The decoder that the class makes without it has another eps than Llama's.
TEST(TextConfig, TilesNeedATextConfig) {
  for (const char* type : {"smolvlm", "idefics3"})
    expect_refused(cat("{\"model_type\": \"", type, "\", \"vision_config\": {}}"), "text_config: expected an object");
}

TEST(TextConfig, RopeInEveryStyle) {
  const auto inv_freq = [](const std::string& keys) {
    return parse("{\"model_type\": \"qwen3\", \"head_dim\": 8, " + keys + "}").text.inv_freq;
  };
  const std::vector<float> expected = inv_freq("\"rope_theta\": 1000000.0");
  EXPECT_NEAR(expected[1], std::pow(1e6, -0.25), 1e-8);
  EXPECT_EQ(inv_freq(R"("rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"})"), expected);
  EXPECT_EQ(inv_freq(R"("rope_theta": 1000000.0, "rope_scaling": null)"), expected);
  EXPECT_EQ(inv_freq(R"("rope_theta": 1000000.0, "rope_scaling": {"type": "linear", "factor": 2.0})")[1],
            float(expected[1] / 2.0));
  expect_refused(R"({"model_type": "qwen3", "rope_scaling": {"rope_type": "yarn", "factor": 4.0}})", "rope_type");
}

TEST(TextConfig, TypesAndActivationsAreChecked) {
  expect_refused(R"({"model_type": "qwen2", "hidden_act": "gelu"})", "hidden_act");
  expect_refused(R"({"model_type": "mistral", "quantization_config": {"bits": 4}})", "quantization_config");
  EXPECT_TRUE(parse(R"({"model_type": "qwen2", "tie_word_embeddings": true})").text.tie_word_embeddings);
}

}  // namespace
}  // namespace vpref
