// SPDX-License-Identifier: Apache-2.0
// LLaVA-1.5: CLIP vision tower -> two-layer GELU projector -> Llama. Its tensor names have three spellings: llava-hf's
// on the hub, transformers' since 4.52, and the original repository's.
#include "families/llava/llava.h"

#include "core/error.h"
#include "families/llama/llama.h"

namespace vpref {

namespace {

constexpr int64_t kMaxSize = 1 << 20;

Gelu parse_gelu(const ConfigReader& config, const char* key, const char* fallback) {
  const std::string act = config.string(key, fallback);
  if (act == "gelu") return Gelu::exact;
  if (act == "quick_gelu") return Gelu::quick;
  if (act == "gelu_pytorch_tanh" || act == "gelu_new") return Gelu::tanh;
  config.fail(key, "\"gelu\", \"quick_gelu\" or \"gelu_pytorch_tanh\"");
}

// Layers whose output is hidden_states[vision_feature_layer]; hidden_states[0] is the embedding after pre_layrnorm.
int32_t layers_used(const ConfigReader& config, int32_t num_layers) {
  if (const Json* j = config.raw("vision_feature_layer"); j && j->kind() == Json::Kind::array) {
    config.fail("vision_feature_layer", "one layer (several feature layers are not supported)");
  }
  const int32_t layer = config.integer("vision_feature_layer", -2, -num_layers - 1, num_layers);
  return layer >= 0 ? layer : num_layers + 1 + layer;
}

VitConfig parse_clip(const ConfigReader& config, bool given) {
  if (config.string("model_type", "clip_vision_model") != "clip_vision_model")
    config.fail("model_type", "\"clip_vision_model\"");
  VitConfig v{};
  v.hidden_size = config.integer("hidden_size", given ? 768 : 1024, 1, kMaxSize);
  v.intermediate_size = config.integer("intermediate_size", given ? 3072 : 4096, 1, kMaxSize);
  v.num_hidden_layers = config.integer("num_hidden_layers", given ? 12 : 24, 1, 1024);
  v.num_attention_heads = config.integer("num_attention_heads", given ? 12 : 16, 1, 4096);
  if (v.hidden_size % v.num_attention_heads != 0)
    config.fail("num_attention_heads", cat("a divisor of hidden_size ", v.hidden_size));
  if (config.integer("num_channels", 3, 1, 64) != 3) config.fail("num_channels", "3");
  v.eps = float(config.number("layer_norm_eps", 1e-5));
  v.hidden_act = parse_gelu(config, "hidden_act", "quick_gelu");
  v.class_row = v.pre_norm = true;
  return v;
}

ModelConfig parse_config(const ConfigReader& config) {
  if (config.has("mm_vision_tower") && !config.has("vision_config")) {
    config.fail(
        "vision_config",
        "an object (this is an original LLaVA checkpoint, whose vision tower is in another repository: convert it to "
        "the Hugging Face layout)");
  }
  ModelConfig c;
  c.model_type = "llava";
  const ConfigReader text = config.object("text_config");
  c.text = parse_llama_text(text);
  // Either key ties the head: transformers 4 wrote it only into text_config (LlavaConfig.__post_init__).
  if (config.boolean("tie_word_embeddings", false)) c.text.tie_word_embeddings = true;
  c.modules = {"model.language_model.", {"multi_modal_projector"}};
  read_vision_model(config, text, {.eos = {2}, .bos = 1, .image = 32000}, c);
  return c;
}

std::unique_ptr<Vision> make_vision(const ConfigReader& config, const ModelConfig& parsed) {
  return std::make_unique<LlavaVision>(parse_llava_vision(config, parsed));
}

FamilyTensors list_tensors(const ModelConfig& config, Weights& weights) {
  FamilyTensors out;
  list_llava_decoder(config, weights, out);
  return out;
}

}  // namespace

void list_llava_decoder(const ModelConfig& config, Weights& weights, FamilyTensors& out) {
  const int text = out.add_group({{"language_model.model.", "model.language_model.", "model."},
                                  config.modules.text,
                                  {"language_model.model.", "model.language_model.model."}});
  const int head = out.add_group({{"language_model.", ""}, "", {}});
  list_llama_tensors(config.text, weights, text, head, out);
}

LlavaConfig parse_llava_vision(const ConfigReader& llava, const ModelConfig& parsed) {
  const ConfigReader config = llava.object("vision_config");
  // Without a vision_config the tower is CLIP-L/14-336; inside one, absent keys have CLIPVisionConfig's defaults.
  const bool given = llava.has("vision_config");
  LlavaConfig c{};
  c.tower = parse_clip(config, given);
  c.image_size = config.integer("image_size", given ? 224 : 336, 1, 1 << 14);
  c.patch_size = config.integer("patch_size", given ? 32 : 14, 1, 1 << 14);
  if (c.patch_size > c.image_size) config.fail("patch_size", cat("at most image_size ", c.image_size));
  c.tower.num_layers_used = layers_used(llava, c.tower.num_hidden_layers);
  const std::string strategy = llava.string("vision_feature_select_strategy", "default");
  if (strategy != "default" && strategy != "full")
    llava.fail("vision_feature_select_strategy", "\"default\" or \"full\"");
  c.drop_class_row = strategy == "default";
  c.projector_act = parse_gelu(llava, "projector_hidden_act", "gelu");
  c.projector_bias = llava.boolean("multimodal_projector_bias", true);
  c.text_hidden_size = parsed.text.hidden_size;
  return c;
}

void LlavaVision::list_tensors(FamilyTensors& out) {
  const int64_t c = config_.tower.hidden_size, p = config_.patch_size, d = config_.text_hidden_size;
  const int tower = out.add_group({{"vision_tower.vision_model.", "vision_tower.", "model.vision_tower.vision_model.",
                                    "model.vision_tower.", "model.vision_tower.vision_tower.vision_model."},
                                   "model.vision_tower.",
                                   {"model.vision_tower.vision_model.", "vision_tower.vision_model."}});
  out.add(&tower_.class_embedding, {c}, tower, "embeddings.class_embedding");
  out.tensors.back().summed = true;
  out.tensors.push_back(
      {&tower_.patch_embedding.weight, {c, 3, p, p}, {c, 3 * p * p}, tower, "embeddings.patch_embedding.weight"});
  out.add(&tower_.position_embedding, {config_.num_patches() + 1, c}, tower, "embeddings.position_embedding.weight");
  out.tensors.back().summed = true;
  list_vit_norm(tower_.pre_norm, VitNorm::layer, c, tower, "pre_layrnorm", out);  // the checkpoint's spelling
  list_vit_layers(config_.tower, kClipVitNames, tower, tower_, out);
  const size_t first = out.tensors.size();
  list_vit_norm(tower_.post_norm, VitNorm::layer, c, tower, "post_layernorm", out);  // never applied to features
  out.leave_out_from(first, out.linears.size());
  const auto projector = [&](Linear& linear, int64_t inputs, const char* name, const char* original) {
    const std::string module = cat("multi_modal_projector.", name);
    const int group = out.add_group({{module, "model." + module, original}, "model." + module, {}});
    out.add_linear(linear, d, inputs, config_.projector_bias, group, "");
  };
  projector(projector_1_, c, "linear_1", "model.mm_projector.0");
  projector(projector_2_, d, "linear_2", "model.mm_projector.2");
}

extern const Family llava_family;
const Family llava_family = {"llava", parse_config, make_vision, list_tensors};

}  // namespace vpref
