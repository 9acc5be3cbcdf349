// SPDX-License-Identifier: Apache-2.0
// Llama and Vicuna; and what all decoders of that architecture share: the keys in config.json, the tensors.
#include "families/llama/llama.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "model/pack.h"

namespace vpref {

namespace {

constexpr int64_t kMaxSize = 1 << 20;

// Llama 3.1's banded scaling (transformers modeling_rope_utils _compute_llama3_parameters): long wavelengths are
// stretched by `factor`, short ones are kept, those between are interpolated.
void scale_llama3(std::vector<float>& inv_freq, const ConfigReader& rope, double max_position_embeddings) {
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor"}) {
    if (!rope.has(key)) rope.fail(key, "a number, for rope type llama3");
  }
  const double factor = rope.number("factor", 1), low = rope.number("low_freq_factor", 1),
               high = rope.number("high_freq_factor", 4);
  const double context = rope.number("original_max_position_embeddings", max_position_embeddings);
  if (!(context > 0)) rope.fail("original_max_position_embeddings", "a number above 0");
  if (factor < 1) rope.fail("factor", "a number of at least 1");
  if (high <= low) rope.fail("high_freq_factor", "a number above low_freq_factor");
  for (float& f : inv_freq) {
    const double wavelength = 2 * std::numbers::pi / f;
    if (wavelength < context / high) continue;
    if (wavelength > context / low) {
      f = float(f / factor);
    } else {
      const double smooth = (context / wavelength - low) / (high - low);
      f = float((1 - smooth) * f / factor + smooth * f);
    }
  }
}

// rope_type has priority over type, and keys inside the rope's object over keys beside it (rope_reader).
std::vector<float> parse_rope(const ConfigReader& config, int32_t head_dim, int32_t max_position_embeddings,
                              const TextDefaults& defaults) {
  const ConfigReader rope = rope_reader(config);
  for (const auto& [key, value] : rope.members()) {
    if (value.is_object()) rope.fail(key.c_str(), "no parameters by kind of layer (not supported)");
  }
  if (rope.has_null("rope_theta")) rope.fail("rope_theta", "a number above 1");
  const ConfigReader& owner = rope.has("rope_theta") ? rope : config;
  if (owner.has_null("rope_theta")) owner.fail("rope_theta", "a number above 1");
  const double theta = owner.number("rope_theta", defaults.rope_theta);
  if (!(theta > 1)) owner.fail("rope_theta", "a number above 1");
  for (const ConfigReader* c : {&config, &rope}) {
    if (c->number("partial_rotary_factor", 1) != 1)
      c->fail("partial_rotary_factor", "1 (partial rotary embedding is not supported)");
  }
  std::vector<float> inv_freq = rope_frequencies(head_dim, theta);
  const char* key = rope.has("rope_type") ? "rope_type" : "type";
  const std::string type = rope.string(key, "default");
  if (type == "llama3") {
    scale_llama3(inv_freq, rope, max_position_embeddings);
  } else if (type == "linear") {
    const double factor = rope.number("factor", 0);
    if (!(factor >= 1)) rope.fail("factor", "a number of at least 1");
    for (float& f : inv_freq) f = float(f / factor);
  } else if (type != "default" && !(type == "mrope" && defaults.has_mrope)) {
    rope.fail(key, "\"default\", \"linear\" or \"llama3\"");
  }
  return inv_freq;
}

ModelConfig parse_config(const ConfigReader& config) {
  return text_model("llama", parse_llama_text(config), config, {.eos = {2}, .bos = 1});
}

// The weights of a stack come first, then its biases: a GPU gets them in that order.
void list_stack(const TextConfig& c, const LinearStack& stack, DecoderLayer& layer, int group, const std::string& at,
                FamilyTensors& out) {
  for (size_t i = stack.first; i < stack.first + stack.count; ++i) {
    const LinearInfo& info = kLinears[i];
    out.add_linear(layer.linears[i], (c.*info.outputs)(), (c.*info.inputs)(), false, group, at + info.path);
  }
  for (size_t i = stack.first; i < stack.first + stack.count; ++i) {
    const int64_t n = (c.*kLinears[i].outputs)();
    if (c.bias[i]) out.add(&layer.linears[i].bias, {n}, group, at + kLinears[i].path + ".bias");
  }
}

}  // namespace

extern const Family llama_family;
const Family llama_family = {"llama", parse_config, nullptr, list_decoder_tensors};

// transformers 5 writes rope_parameters {rope_theta, rope_type, ...}; hub files have rope_theta and rope_scaling, or
// nothing. If both are present, rope_scaling is used, as in transformers 5 (modeling_rope_utils
// convert_rope_params_to_dict).
ConfigReader rope_reader(const ConfigReader& config) {
  const Json* scaling = config.raw("rope_scaling");
  const bool older = scaling && !(scaling->is_object() && scaling->object().empty());
  return config.object(older ? "rope_scaling" : "rope_parameters");
}

// The exponent is f32, the power f64, as in transformers.
std::vector<float> rope_frequencies(int32_t size, double theta) {
  std::vector<float> f;
  for (int32_t i = 0; i < size; i += 2) {
    const float exponent = float(i) / float(size);
    f.push_back(1.0f / float(std::pow(theta, double(exponent))));
  }
  return f;
}

FamilyTensors list_decoder_tensors(const ModelConfig& config, Weights& weights) {
  FamilyTensors out;
  out.groups = {{{"model.", ""}, "model.", {}}, {{""}, "", {}}};
  list_llama_tensors(config.text, weights, 0, 1, out);
  return out;
}

TextConfig parse_text(const ConfigReader& config, const TextDefaults& defaults) {
  const std::string type = config.string("model_type", defaults.model_type);
  if (type != defaults.model_type) config.fail("model_type", json_quote(defaults.model_type));
  if (config.string("hidden_act", "silu") != "silu") config.fail("hidden_act", "\"silu\"");
  if (!config.boolean("is_causal", true)) config.fail("is_causal", "true");
  check_quantization(config);
  TextConfig t{};
  t.vocab_size = config.integer("vocab_size", defaults.vocab_size, 1, 1 << 24);
  t.hidden_size = config.integer("hidden_size", defaults.hidden_size, 1, kMaxSize);
  t.intermediate_size = config.integer("intermediate_size", defaults.intermediate_size, 1, kMaxSize);
  t.num_hidden_layers = config.integer("num_hidden_layers", defaults.num_hidden_layers, 1, 1024);
  t.num_attention_heads = config.integer("num_attention_heads", defaults.num_attention_heads, 1, 4096);
  const bool as_heads = defaults.num_key_value_heads == 0 || config.has_null("num_key_value_heads");
  t.num_key_value_heads =
      config.integer("num_key_value_heads", as_heads ? t.num_attention_heads : defaults.num_key_value_heads, 1, 4096);
  if (t.num_attention_heads % t.num_key_value_heads != 0)
    config.fail("num_key_value_heads", cat("a divisor of ", t.num_attention_heads, " heads"));
  if (!config.has("head_dim") && defaults.head_dim == 0 && t.hidden_size % t.num_attention_heads != 0)
    config.fail("num_attention_heads", cat("a divisor of hidden_size ", t.hidden_size));
  t.head_dim = config.integer("head_dim", defaults.head_dim ? defaults.head_dim : t.hidden_size / t.num_attention_heads,
                              2, 4096);
  if (t.head_dim % 2 != 0) config.fail("head_dim", "an even number");
  t.max_position_embeddings = config.integer("max_position_embeddings", defaults.max_position_embeddings, 1, INT32_MAX);
  t.rms_norm_eps = float(config.number("rms_norm_eps", defaults.rms_norm_eps));
  t.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  t.windows.assign(size_t(t.num_hidden_layers), 0);
  t.inv_freq = parse_rope(config, t.head_dim, t.max_position_embeddings, defaults);
  return t;
}

TextConfig parse_llama_text(const ConfigReader& config) {
  TextConfig t = parse_text(
      config,
      {.model_type = "llama", .vocab_size = 32000, .intermediate_size = 11008, .max_position_embeddings = 2048});
  const bool attention_bias = config.boolean("attention_bias", false), mlp_bias = config.boolean("mlp_bias", false);
  t.bias = {attention_bias, attention_bias, attention_bias, attention_bias, mlp_bias, mlp_bias, mlp_bias};
  return t;
}

void list_llama_tensors(const TextConfig& c, Weights& weights, int text, int head, FamilyTensors& out) {
  const int64_t d = c.hidden_size, v = c.vocab_size;
  out.add(&weights.embed_tokens, {v, d}, text, "embed_tokens.weight");
  weights.layers.resize(size_t(c.num_hidden_layers));
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    DecoderLayer& l = weights.layers[i];
    l.window = c.windows[i];
    const std::string at = "layers." + std::to_string(i) + ".";
    out.add(&l.input_layernorm, {d}, text, at + "input_layernorm.weight");
    list_stack(c, kQkv, l, text, at, out);
    list_stack(c, kAttentionOut, l, text, at, out);
    if (c.qk_norm) {
      out.add(&l.q_norm, {c.head_dim}, text, at + "self_attn.q_norm.weight");
      out.add(&l.k_norm, {c.head_dim}, text, at + "self_attn.k_norm.weight");
    }
    out.add(&l.post_attention_layernorm, {d}, text, at + "post_attention_layernorm.weight");
    list_stack(c, kGateUp, l, text, at, out);
    list_stack(c, kMlpOut, l, text, at, out);
  }
  out.add(&weights.norm, {d}, text, "norm.weight");
  out.add_linear(weights.lm_head, v, d, false, head, "lm_head");
  TensorSpec& lm_head = out.tensors.back();
  if (c.tie_word_embeddings) {  // a copy in the file is ignored, as transformers does
    lm_head.optional = true;
    lm_head.slot = nullptr;
  }
}

}  // namespace vpref
