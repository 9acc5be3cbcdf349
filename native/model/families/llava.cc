// SPDX-License-Identifier: Apache-2.0
// LLaVA-1.5: CLIP vision tower -> two-layer GELU projector -> Llama. Three spellings of its tensor names are in
// circulation: llava-hf on the hub, transformers' module tree since 4.52, and the original repository's.
#include "core/error.h"
#include "model/families/family.h"

namespace vpref {

namespace {

constexpr int64_t kMaxSize = 1 << 20;
enum Group : int { kText, kHead, kVision, kProjector1, kProjector2 };

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

VisionConfig parse_vision(const ConfigReader& llava) {
  const ConfigReader config = llava.object("vision_config");
  // Without a vision_config LLaVA means CLIP-L/14-336; inside one, absent keys are CLIPVisionConfig's defaults.
  const bool given = llava.has("vision_config");
  if (config.string("model_type", "clip_vision_model") != "clip_vision_model")
    config.fail("model_type", "\"clip_vision_model\"");
  VisionConfig v{};
  v.hidden_size = config.integer("hidden_size", given ? 768 : 1024, 1, kMaxSize);
  v.intermediate_size = config.integer("intermediate_size", given ? 3072 : 4096, 1, kMaxSize);
  v.num_hidden_layers = config.integer("num_hidden_layers", given ? 12 : 24, 1, 1024);
  v.num_attention_heads = config.integer("num_attention_heads", given ? 12 : 16, 1, 4096);
  if (v.hidden_size % v.num_attention_heads != 0)
    config.fail("num_attention_heads", cat("a divisor of hidden_size ", v.hidden_size));
  v.image_size = config.integer("image_size", given ? 224 : 336, 1, 1 << 14);
  v.patch_size = config.integer("patch_size", given ? 32 : 14, 1, 1 << 14);
  if (v.patch_size > v.image_size) config.fail("patch_size", cat("at most image_size ", v.image_size));
  if (config.integer("num_channels", 3, 1, 64) != 3) config.fail("num_channels", "3");
  v.layer_norm_eps = float(config.number("layer_norm_eps", 1e-5));
  v.hidden_act = parse_gelu(config, "hidden_act", "quick_gelu");
  v.num_layers_used = layers_used(llava, v.num_hidden_layers);
  const std::string strategy = llava.string("vision_feature_select_strategy", "default");
  if (strategy != "default" && strategy != "full")
    llava.fail("vision_feature_select_strategy", "\"default\" or \"full\"");
  v.drop_class_token = strategy == "default";
  return v;
}

ModelConfig parse_config(const ConfigReader& config) {
  if (config.has("quantization_config"))
    config.fail("quantization_config", "none (quantised checkpoints are not supported)");
  if (config.has("mm_vision_tower") && !config.has("vision_config")) {
    config.fail("vision_config",
                "an object (this is an original LLaVA checkpoint, whose vision tower stands elsewhere: convert it to "
                "the Hugging Face layout)");
  }
  ModelConfig c;
  c.model_type = "llava";
  const ConfigReader text = config.object("text_config");
  c.text = parse_llama_text(text);
  // Either place ties: transformers 4 wrote it into text_config alone (LlavaConfig.__post_init__).
  if (config.boolean("tie_word_embeddings", false)) c.text.tie_word_embeddings = true;
  c.has_vision = true;
  c.vision = parse_vision(config);
  c.projector_hidden_act = parse_gelu(config, "projector_hidden_act", "gelu");
  c.projector_bias = config.boolean("multimodal_projector_bias", true);
  const char* image_key = config.has("image_token_id") ? "image_token_id" : "image_token_index";
  c.image_token_id = config.integer(image_key, 32000, 0, INT32_MAX);
  if (c.image_token_id >= c.text.vocab_size) config.fail(image_key, cat("an id below vocab_size ", c.text.vocab_size));
  c.image_layout = {.runs = {c.num_image_rows()}, .offsets = {}, .position_span = c.num_image_rows()};
  c.eos_token_ids = config.integers("eos_token_id", text.integers("eos_token_id", {2}));
  c.bos_token_id = text.integer("bos_token_id", 1, 0, INT32_MAX);
  return c;
}

void list_vision(const VisionConfig& v, Weights& w, FamilyTensors& out) {
  const int64_t c = v.hidden_size, f = v.intermediate_size, p = v.patch_size, rows = v.num_patches() + 1;
  const auto vector = [&](Tensor* slot, const std::string& name) {
    out.tensors.push_back({slot, {c}, {c}, kVision, name});
  };
  vector(&w.class_embedding, "embeddings.class_embedding");
  out.tensors.push_back(
      {&w.patch_embedding.weight, {c, 3, p, p}, {c, 3 * p * p}, kVision, "embeddings.patch_embedding.weight"});
  out.tensors.push_back({&w.position_embedding, {rows, c}, {rows, c}, kVision, "embeddings.position_embedding.weight"});
  vector(&w.pre_layrnorm_weight, "pre_layrnorm.weight");
  vector(&w.pre_layrnorm_bias, "pre_layrnorm.bias");
  w.vision_layers.resize(size_t(v.num_layers_used));
  std::vector<VisionLayer> unused(1);
  for (int32_t i = 0; i < v.num_hidden_layers; ++i) {
    const bool used = i < v.num_layers_used;
    VisionLayer& l = used ? w.vision_layers[size_t(i)] : unused[0];
    const size_t first_tensor = out.tensors.size(), first_linear = out.linears.size();
    const std::string at = "encoder.layers." + std::to_string(i) + ".";
    vector(&l.layer_norm1_weight, at + "layer_norm1.weight");
    vector(&l.layer_norm1_bias, at + "layer_norm1.bias");
    list_linear(l.q_proj, c, c, true, kVision, at + "self_attn.q_proj", out);
    list_linear(l.k_proj, c, c, true, kVision, at + "self_attn.k_proj", out);
    list_linear(l.v_proj, c, c, true, kVision, at + "self_attn.v_proj", out);
    list_linear(l.out_proj, c, c, true, kVision, at + "self_attn.out_proj", out);
    vector(&l.layer_norm2_weight, at + "layer_norm2.weight");
    vector(&l.layer_norm2_bias, at + "layer_norm2.bias");
    list_linear(l.fc1, f, c, true, kVision, at + "mlp.fc1", out);
    list_linear(l.fc2, c, f, true, kVision, at + "mlp.fc2", out);
    if (used) continue;
    for (size_t k = first_tensor; k < out.tensors.size(); ++k) {
      out.tensors[k].slot = nullptr;
      out.tensors[k].optional = true;
    }
    for (size_t k = first_linear; k < out.linears.size(); ++k) out.linears[k].linear = nullptr;
  }
  for (const char* name : {"post_layernorm.weight", "post_layernorm.bias"}) {  // never applied to patch features
    vector(nullptr, name);
    out.tensors.back().optional = true;
  }
}

FamilyTensors list_tensors(const ModelConfig& config, Weights& weights) {
  FamilyTensors out;
  out.groups = {
      {{"language_model.model.", "model.language_model.", "model."},
       "model.language_model.",
       {"language_model.model.", "model.language_model.model."}},
      {{"language_model.", ""}, "", {}},
      {{"vision_tower.vision_model.", "vision_tower.", "model.vision_tower.vision_model.", "model.vision_tower.",
        "model.vision_tower.vision_tower.vision_model."},
       "model.vision_tower.",
       {"model.vision_tower.vision_model.", "vision_tower.vision_model."}},
      {{"multi_modal_projector.linear_1", "model.multi_modal_projector.linear_1", "model.mm_projector.0"},
       "model.multi_modal_projector.linear_1",
       {}},
      {{"multi_modal_projector.linear_2", "model.multi_modal_projector.linear_2", "model.mm_projector.2"},
       "model.multi_modal_projector.linear_2",
       {}},
  };
  list_llama_tensors(config.text, weights, kText, kHead, out);
  list_vision(config.vision, weights, out);
  list_linear(weights.projector_1, config.text.hidden_size, config.vision.hidden_size, config.projector_bias,
              kProjector1, "", out);
  list_linear(weights.projector_2, config.text.hidden_size, config.text.hidden_size, config.projector_bias, kProjector2,
              "", out);
  return out;
}

}  // namespace

const Family llava_family = {"llava", parse_config, list_tensors};

}  // namespace vpref
