// SPDX-License-Identifier: Apache-2.0
// Qwen2-VL: a tower with LayerNorm and GELU on pictures in their own shapes -> merger -> Qwen2's decoder, whose rope
// has three axes.
#include "families/qwen2_vl/qwen2_vl.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "families/qwen2/qwen2.h"

namespace vpref {

namespace {

constexpr int64_t kMaxSize = 1 << 20;

TextConfig parse_decoder(const ConfigReader& text, const char* model_type) {
  const std::string type = text.string("model_type", model_type), nested = std::string(model_type) + "_text";
  if (type != model_type && type != nested)
    text.fail("model_type", cat(json_quote(model_type), " or ", json_quote(nested)));
  TextConfig t = parse_text(text, {.model_type = type.c_str(),
                                   .vocab_size = 152064,
                                   .intermediate_size = 29568,
                                   .num_key_value_heads = 8,
                                   .max_position_embeddings = 32768,
                                   .hidden_size = 8192,
                                   .num_hidden_layers = 80,
                                   .num_attention_heads = 64,
                                   .rms_norm_eps = 1e-5,
                                   .rope_theta = 1e6,
                                   .has_mrope = true});
  t.bias[kQProj] = t.bias[kKProj] = t.bias[kVProj] = true;
  t.windows = parse_qwen_windows(text, t.num_hidden_layers, 80);
  if (std::any_of(t.windows.begin(), t.windows.end(), [](int32_t window) { return window > 0; }))
    text.fail("use_sliding_window", "false, or full attention on every layer (windows are not supported here)");
  parse_mrope(text, {16, 24, 24}, /*interleaved=*/false, t);
  return t;
}

ModelConfig parse_config(const ConfigReader& config) { return parse_qwen2_vl_config(config, "qwen2_vl"); }

std::unique_ptr<Vision> make_vision(const ConfigReader& config, const ModelConfig& parsed) {
  const ConfigReader vision = config.object("vision_config");
  const std::string type = vision.string("model_type", "qwen2_vl_vision");
  if (type != "qwen2_vl_vision" && type != "qwen2_vl") vision.fail("model_type", "\"qwen2_vl_vision\" or \"qwen2_vl\"");
  QwenVisionConfig c{.names = {.layers = "blocks.",
                               .norm1 = "norm1",
                               .norm2 = "norm2",
                               .qkv = "attn.qkv",
                               .out_proj = "attn.proj",
                               .fc1 = "mlp.fc1",
                               .fc2 = "mlp.fc2"}};
  // hidden_size is the decoder's.
  if (vision.integer("hidden_size", 3584, 1, kMaxSize) != parsed.text.hidden_size)
    vision.fail("hidden_size", cat(parsed.text.hidden_size, ", the decoder's hidden_size"));
  c.tower.hidden_size = vision.integer("embed_dim", 1280, 1, kMaxSize);
  const double intermediate = c.tower.hidden_size * vision.number("mlp_ratio", 4);
  if (!(intermediate >= 1 && intermediate <= kMaxSize)) vision.fail("mlp_ratio", "a number above 0");
  c.tower.intermediate_size = int32_t(intermediate);
  if (vision.string("hidden_act", "quick_gelu") != "quick_gelu") vision.fail("hidden_act", "\"quick_gelu\"");
  c.tower.hidden_act = Gelu::quick;
  parse_qwen_vision(vision, parsed, c);
  return std::make_unique<QwenVision>(std::move(c));
}

}  // namespace

extern const Family qwen2_vl_family;
const Family qwen2_vl_family = {"qwen2_vl", parse_config, make_vision, list_qwen_decoder};

ConfigReader qwen_text_reader(const ConfigReader& config) {
  return config.has("text_config") ? config.object("text_config") : config;
}

void parse_mrope(const ConfigReader& text, const std::array<int32_t, 3>& fallback, bool interleaved, TextConfig& t) {
  const ConfigReader rope = rope_reader(text);
  if (rope.boolean("mrope_interleaved", interleaved) != interleaved)
    rope.fail("mrope_interleaved", interleaved ? "true" : "false");
  const int32_t count = t.head_dim / 2;
  const std::vector<int32_t> section = rope.integers("mrope_section", {fallback.begin(), fallback.end()});
  if (section.size() != 3 || std::accumulate(section.begin(), section.end(), int64_t(0)) != count)
    rope.fail("mrope_section", cat("three numbers with the sum ", count, ", half of a head"));
  t.num_position_axes = 3;
  t.rope_axis.clear();
  for (int32_t i = 0; i < count; ++i) {
    int32_t axis = i < section[0] ? 0 : i < section[0] + section[1] ? 1 : 2;
    if (interleaved) axis = i % 3 > 0 && i < 3 * section[size_t(i % 3)] ? i % 3 : 0;
    t.rope_axis.push_back(axis);
  }
}

ModelConfig parse_qwen2_vl_config(const ConfigReader& config, const char* model_type) {
  ModelConfig c;
  c.model_type = model_type;
  const ConfigReader text = qwen_text_reader(config);
  c.text = parse_decoder(text, model_type);
  c.text.tie_word_embeddings =
      config.boolean("tie_word_embeddings", false) || text.boolean("tie_word_embeddings", false);
  c.modules = {"model.language_model.", {"merger"}};
  read_vision_model(config, text, kQwenIds, c);
  return c;
}

FamilyTensors list_qwen_decoder(const ModelConfig& config, Weights& weights) {
  FamilyTensors out;
  const int text = out.add_group({{"model.", config.modules.text}, config.modules.text, {}});
  const int head = out.add_group({{""}, "", {}});
  list_llama_tensors(config.text, weights, text, head, out);
  return out;
}

void parse_qwen_vision(const ConfigReader& vision, const ModelConfig& parsed, QwenVisionConfig& c,
                       const QwenVisionDefaults& defaults) {
  VitConfig& t = c.tower;
  t.num_hidden_layers = t.num_layers_used = vision.integer("depth", defaults.depth, 1, 1024);
  t.num_attention_heads = vision.integer("num_heads", 16, 1, 4096);
  if (t.hidden_size % t.num_attention_heads != 0 || t.hidden_size / t.num_attention_heads % 4 != 0)
    vision.fail("num_heads", cat("heads of a width that 4 divides, of ", t.hidden_size, " together"));
  for (const char* key : {"in_channels", "in_chans"}) {
    if (vision.integer(key, 3, 1, 64) != 3) vision.fail(key, "3");
  }
  t.eps = 1e-6f;
  t.fused_qkv = true;
  c.patch_size = vision.integer("patch_size", defaults.patch_size, 1, 1 << 14);
  c.temporal_patch_size = vision.integer("temporal_patch_size", 2, 1, 64);
  c.spatial_merge_size = vision.integer("spatial_merge_size", 2, 1, 64);
  const ConfigReader rope = rope_reader(vision);
  for (const char* key : {"rope_type", "type"}) {
    if (rope.string(key, "axial") != "axial") rope.fail(key, "\"axial\"");
  }
  for (const ConfigReader* place : {&rope, &vision}) {
    if (place->has_null("rope_theta")) place->fail("rope_theta", "a number above 1");
  }
  const ConfigReader& owner = rope.has("rope_theta") ? rope : vision;
  c.rope_theta = owner.number("rope_theta", 1e4);
  if (!(c.rope_theta > 1)) owner.fail("rope_theta", "a number above 1");
  c.text_hidden_size = parsed.text.hidden_size;
}

}  // namespace vpref
