// SPDX-License-Identifier: Apache-2.0
// Qwen3-VL, dense: tower with DeepStack -> mergers -> Qwen3's decoder with an interleaved M-RoPE. A layout serves hub
// files and module trees.
#include "families/qwen3_vl/qwen3_vl.h"

#include <cmath>

namespace vpref {

namespace {

constexpr int64_t kMaxSize = 1 << 20;

// transformers checks a layer_types of such a file and does not follow it, so one that says something else is refused.
void check_layer_types(const ConfigReader& text, int32_t num_layers) {
  if (!text.has("layer_types")) return;
  const std::vector<std::string> types = text.strings("layer_types");
  if (types != std::vector<std::string>(size_t(num_layers), "full_attention"))
    text.fail("layer_types", cat("\"full_attention\" for each of ", num_layers, " layers"));
}

TextConfig parse_decoder(const ConfigReader& text) {
  TextConfig t = parse_text(text, {.model_type = "qwen3_vl_text",
                                   .vocab_size = 151936,
                                   .intermediate_size = 22016,
                                   .num_key_value_heads = 32,
                                   .head_dim = 128,
                                   .max_position_embeddings = 128000,
                                   .rope_theta = 500000});
  const bool bias = text.boolean("attention_bias", false);
  t.bias[kQProj] = t.bias[kKProj] = t.bias[kVProj] = t.bias[kOProj] = bias;
  t.qk_norm = true;
  check_layer_types(text, t.num_hidden_layers);
  parse_mrope(text, {24, 20, 20}, /*interleaved=*/true, t);
  return t;
}

ModelConfig parse_config(const ConfigReader& config) {
  const ConfigReader text = config.object("text_config");
  ModelConfig c;
  c.model_type = "qwen3_vl";
  c.text = parse_decoder(text);
  c.text.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  // Of a list of modules peft saves the members.
  c.modules = {"model.language_model.", {"merger"}};
  read_vision_model(config, text, kQwenIds, c);
  const size_t planes = config.object("vision_config").integers("deepstack_visual_indexes", {8, 16, 24}).size();
  for (size_t i = 0; i < planes; ++i) c.modules.connector.push_back(cat("deepstack_merger_list.", i));
  return c;
}

// Absent keys are Qwen3VLVisionConfig's.
Qwen3VlConfig parse_vision(const ConfigReader& config, const ModelConfig& parsed) {
  const std::string type = config.string("model_type", "qwen3_vl_vision");
  if (type != "qwen3_vl_vision" && type != "qwen3_vl") config.fail("model_type", "\"qwen3_vl_vision\" or \"qwen3_vl\"");
  Qwen3VlConfig c{};
  c.names = {.layers = "blocks.",
             .norm1 = "norm1",
             .norm2 = "norm2",
             .qkv = "attn.qkv",
             .out_proj = "attn.proj",
             .fc1 = "mlp.linear_fc1",
             .fc2 = "mlp.linear_fc2"};
  c.tower.hidden_size = config.integer("hidden_size", 1152, 1, kMaxSize);
  c.tower.intermediate_size = config.integer("intermediate_size", 4304, 1, kMaxSize);
  if (config.string("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh")
    config.fail("hidden_act", "\"gelu_pytorch_tanh\"");
  c.tower.hidden_act = Gelu::tanh;
  parse_qwen_vision(config, parsed, c, {.depth = 27, .patch_size = 16});
  c.num_position_embeddings = config.integer("num_position_embeddings", 2304, 1, 1 << 24);
  c.table_side = int32_t(std::sqrt(double(c.num_position_embeddings)));
  c.deepstack = config.integers("deepstack_visual_indexes", {8, 16, 24});
  for (size_t i = 0; i < c.deepstack.size(); ++i) {
    if (c.deepstack[i] < (i == 0 ? 0 : c.deepstack[i - 1] + 1) || c.deepstack[i] >= c.tower.num_hidden_layers)
      config.fail("deepstack_visual_indexes", cat("ascending layers below depth ", c.tower.num_hidden_layers));
  }
  if (config.integer("out_hidden_size", 3584, 1, kMaxSize) != c.text_hidden_size)
    config.fail("out_hidden_size", cat("text_config's hidden_size ", c.text_hidden_size));
  return c;
}

std::unique_ptr<Vision> make_vision(const ConfigReader& config, const ModelConfig& parsed) {
  return std::make_unique<Qwen3VlVision>(parse_vision(config.object("vision_config"), parsed));
}

FamilyTensors list_tensors(const ModelConfig& config, Weights& weights) {
  FamilyTensors out;
  const int text = out.add_group({{"model.language_model."}, config.modules.text, {}});
  const int head = out.add_group({{""}, "", {}});
  list_llama_tensors(config.text, weights, text, head, out);
  return out;
}

}  // namespace

extern const Family qwen3_vl_family;
const Family qwen3_vl_family = {"qwen3_vl", parse_config, make_vision, list_tensors};

}  // namespace vpref
