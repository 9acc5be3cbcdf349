// SPDX-License-Identifier: Apache-2.0
// Mistral: Llama's decoder with the same window on every layer, or none.
#include "families/mistral/mistral.h"

#include "core/error.h"

namespace vpref {

namespace {

// transformers reads layer_types of such a file but ignores it, so a contradicting one is refused.
void check_layer_types(const ConfigReader& config, int32_t window) {
  const char* expected = window > 0 ? "sliding_attention" : "full_attention";
  for (const std::string& type : config.strings("layer_types")) {
    if (type != expected)
      config.fail("layer_types", cat(json_quote(expected), " on every layer, as sliding_window requires"));
  }
}

ModelConfig parse_config(const ConfigReader& config) {
  return text_model("mistral", parse_mistral_text(config), config, {.eos = {2}, .bos = 1});
}

}  // namespace

extern const Family mistral_family;
const Family mistral_family = {"mistral", parse_config, nullptr, list_decoder_tensors};

TextConfig parse_mistral_text(const ConfigReader& config) {
  TextConfig t = parse_text(config, {.model_type = "mistral",
                                     .vocab_size = 32000,
                                     .intermediate_size = 14336,
                                     .num_key_value_heads = 8,
                                     .max_position_embeddings = 4096 * 32});
  // Null means no window; an absent key means the class's default, 4096.
  const int32_t window = config.has_null("sliding_window") ? 0 : config.integer("sliding_window", 4096, 1, INT32_MAX);
  check_layer_types(config, window);
  t.windows.assign(t.windows.size(), window);
  return t;
}

}  // namespace vpref
