// SPDX-License-Identifier: Apache-2.0
// Qwen3-VL, dense: tower with DeepStack -> mergers -> Qwen3's decoder with an interleaved M-RoPE. A layout serves hub
// files and module trees.
#include "families/qwen3_vl/qwen3_vl.h"

#include <cmath>

#include "families/llama/llama.h"

namespace vpref {

namespace {

constexpr int64_t kMaxSize = 1 << 20;

// Frequency i turns by height where i % 3 is 1, by width where it is 2, as far as the sections go, else by time.
std::vector<int32_t> interleaved_axes(const ConfigReader& text, size_t num_frequencies) {
  const Json* scaling = text.raw("rope_scaling");
  const bool older = scaling && !(scaling->is_object() && scaling->object().empty());
  const ConfigReader rope = text.object(older ? "rope_scaling" : "rope_parameters");
  if (!rope.boolean("mrope_interleaved", true)) rope.fail("mrope_interleaved", "true");
  const std::vector<int32_t> sections = rope.integers("mrope_section", {24, 20, 20});
  if (sections.size() != 3) rope.fail("mrope_section", "three numbers");
  std::vector<int32_t> axes(num_frequencies, 0);
  for (size_t i = 0; i < num_frequencies; ++i) {
    const size_t axis = i % 3;
    if (axis > 0 && int64_t(i) < 3 * int64_t(sections[axis])) axes[i] = int32_t(axis);
  }
  return axes;
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
  t.num_position_axes = 3;
  t.rope_axis = interleaved_axes(text, t.inv_freq.size());
  return t;
}

ModelConfig parse_config(const ConfigReader& config) {
  if (config.has("quantization_config"))
    config.fail("quantization_config", "none (quantised checkpoints are not supported)");
  const ConfigReader text = config.object("text_config");
  ModelConfig c;
  c.model_type = "qwen3_vl";
  c.text = parse_decoder(text);
  c.text.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  c.has_vision = true;
  c.modules.text = "model.language_model.";
  c.image_token_id = config.integer("image_token_id", 151655, 0, INT32_MAX);
  if (c.image_token_id >= c.text.vocab_size)
    config.fail("image_token_id", cat("an id below vocab_size ", c.text.vocab_size));
  c.eos_token_ids = config.integers("eos_token_id", text.integers("eos_token_id", {}));
  c.bos_token_id = text.integer("bos_token_id", -1, 0, INT32_MAX);
  // A list of modules is none that peft saves: its members are.
  c.modules.connector = {"merger"};
  const size_t planes = config.object("vision_config").integers("deepstack_visual_indexes", {8, 16, 24}).size();
  for (size_t i = 0; i < planes; ++i) c.modules.connector.push_back(cat("deepstack_merger_list.", i));
  return c;
}

VitConfig parse_tower(const ConfigReader& config) {
  VitConfig t{};
  t.hidden_size = config.integer("hidden_size", 1152, 1, kMaxSize);
  t.intermediate_size = config.integer("intermediate_size", 4304, 1, kMaxSize);
  t.num_hidden_layers = t.num_layers_used = config.integer("depth", 27, 1, 1024);
  t.num_attention_heads = config.integer("num_heads", 16, 1, 4096);
  if (t.hidden_size % (4 * t.num_attention_heads) != 0)
    config.fail("num_heads", cat("heads of a multiple of 4 columns of hidden_size ", t.hidden_size));
  if (config.string("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh")
    config.fail("hidden_act", "\"gelu_pytorch_tanh\"");
  if (config.integer("in_channels", 3, 1, 64) != 3) config.fail("in_channels", "3");
  t.hidden_act = Gelu::tanh;
  t.eps = 1e-6f;
  t.fused_qkv = true;
  return t;
}

// Absent keys are Qwen3VLVisionConfig's.
Qwen3VlConfig parse_vision(const ConfigReader& config, const ModelConfig& parsed) {
  const std::string type = config.string("model_type", "qwen3_vl_vision");
  if (type != "qwen3_vl_vision" && type != "qwen3_vl") config.fail("model_type", "\"qwen3_vl_vision\" or \"qwen3_vl\"");
  Qwen3VlConfig c{};
  c.tower = parse_tower(config);
  c.patch = {.size = config.integer("patch_size", 16, 1, 1 << 10),
             .frames = config.integer("temporal_patch_size", 2, 1, 64),
             .block = config.integer("spatial_merge_size", 2, 1, 64)};
  c.num_position_embeddings = config.integer("num_position_embeddings", 2304, 1, 1 << 24);
  c.table_side = int32_t(std::sqrt(double(c.num_position_embeddings)));
  const ConfigReader rope = config.object("rope_parameters");
  if (rope.string("rope_type", "axial") != "axial") rope.fail("rope_type", "\"axial\"");
  c.rope_theta = rope.number("rope_theta", 10000);
  if (!(c.rope_theta > 1)) rope.fail("rope_theta", "a number above 1");
  c.deepstack = config.integers("deepstack_visual_indexes", {8, 16, 24});
  for (size_t i = 0; i < c.deepstack.size(); ++i) {
    if (c.deepstack[i] < (i == 0 ? 0 : c.deepstack[i - 1] + 1) || c.deepstack[i] >= c.tower.num_hidden_layers)
      config.fail("deepstack_visual_indexes", cat("ascending layers below depth ", c.tower.num_hidden_layers));
  }
  c.text_hidden_size = parsed.text.hidden_size;
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
