// SPDX-License-Identifier: Apache-2.0
// The table of families: one name each.
#include <algorithm>
#include <iterator>
#include <string_view>

#include "core/error.h"
#include "families/family.h"
#include "model/pack.h"

namespace vpref {

extern const Family idefics3_family, llama_family, llava_family, llava_next_family, mistral_family, qwen2_5_vl_family,
    qwen2_family, qwen2_vl_family, qwen3_family, qwen3_vl_family, smolvlm_family;

namespace {

constexpr const Family* kFamilies[] = {
    &idefics3_family,   &llama_family,    &llava_family, &llava_next_family, &mistral_family, &qwen2_family,
    &qwen2_5_vl_family, &qwen2_vl_family, &qwen3_family, &qwen3_vl_family,   &smolvlm_family,
};

// Model types with another name than the family that is similar.
constexpr std::pair<std::string_view, std::string_view> kNearest[] = {{"mixtral", "mistral"}, {"ministral", "mistral"}};

// The family whose name shares most words, else letters, with the beginning of `type`, for error messages: "qwen3_moe"
// is near qwen3, "qwen2_5_omni" near qwen2_5_vl, "smolvlm2" near smolvlm.
std::string_view nearest(std::string_view type) {
  for (const auto& [name, family] : kNearest) {
    if (type.starts_with(name)) return family;
  }
  const auto common = [&](const Family* f) {
    const std::string_view name = f->model_type;
    const auto is_end = [](std::string_view s, size_t at) { return at == s.size() || s[at] == '_'; };
    const auto letters = size_t(std::mismatch(name.begin(), name.end(), type.begin(), type.end()).first - name.begin());
    for (size_t at = letters; at > 0; --at) {
      if (is_end(name, at) && is_end(type, at)) return at;
    }
    return letters;
  };
  const Family* best = *std::max_element(std::begin(kFamilies), std::end(kFamilies),
                                         [&](const Family* a, const Family* b) { return common(a) < common(b); });
  return common(best) >= 4 ? best->model_type : llama_family.model_type;
}

}  // namespace

const Family& find_family(const ConfigReader& config) {
  const std::string type = config.string("model_type", "");
  std::string known;
  for (const Family* f : kFamilies) {
    if (type == f->model_type) return *f;
    known += cat(known.empty() ? "" : f == *std::rbegin(kFamilies) ? " or " : ", ", json_quote(f->model_type));
  }
  if (type.empty()) config.fail("model_type", known);
  throw Error("config", cat(config.where("model_type"), ": expected ", known, ", got ", json_quote(type),
                            " (the nearest family is ", nearest(type),
                            "; sample --endpoint takes responses from a server that runs this model)"));
}

ModelConfig text_model(const char* model_type, TextConfig text, const ConfigReader& config,
                       const IdDefaults& defaults) {
  ModelConfig c;
  c.model_type = model_type;
  c.text = std::move(text);
  c.eos_token_ids = config.integers("eos_token_id", defaults.eos);
  c.bos_token_id = config.integer("bos_token_id", defaults.bos, 0, INT32_MAX);
  return c;
}

void read_vision_model(const ConfigReader& config, const ConfigReader& text, const IdDefaults& defaults,
                       ModelConfig& c) {
  check_quantization(config);
  c.has_vision = true;
  // llava has the older key.
  const char* image_key =
      config.has("image_token_index") && !config.has("image_token_id") ? "image_token_index" : "image_token_id";
  c.image_token_id = config.integer(image_key, defaults.image, 0, INT32_MAX);
  if (c.image_token_id >= c.text.vocab_size) config.fail(image_key, cat("an id below vocab_size ", c.text.vocab_size));
  c.eos_token_ids = config.integers("eos_token_id", text.integers("eos_token_id", defaults.eos));
  c.bos_token_id =
      config.integer("bos_token_id", text.integer("bos_token_id", defaults.bos, 0, INT32_MAX), 0, INT32_MAX);
}

FamilyTensors set_up(const Family& family, const ConfigReader& reader, ModelConfig& config, Weights& weights) {
  if (family.make_vision) weights.vision = family.make_vision(reader, config);
  config.vision = weights.vision.get();
  FamilyTensors tensors = family.list_tensors(config, weights);
  if (weights.vision) weights.vision->list_tensors(tensors);
  return tensors;
}

}  // namespace vpref
