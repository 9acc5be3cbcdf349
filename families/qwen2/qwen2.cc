// SPDX-License-Identifier: Apache-2.0
// Qwen2 and Qwen2.5: Llama's decoder with biases on queries, keys and values, for which config.json has no key.
#include "families/qwen2/qwen2.h"

#include "core/error.h"

namespace vpref {

namespace {

ModelConfig parse_config(const ConfigReader& config) {
  return text_model("qwen2", parse_qwen2_text(config), config, {.eos = {}, .bos = -1});
}

}  // namespace

extern const Family qwen2_family;
const Family qwen2_family = {"qwen2", parse_config, nullptr, list_decoder_tensors};

TextConfig parse_qwen2_text(const ConfigReader& config) {
  TextConfig t = parse_text(config, {.model_type = "qwen2",
                                     .vocab_size = 151936,
                                     .intermediate_size = 22016,
                                     .num_key_value_heads = 32,
                                     .max_position_embeddings = 32768});
  t.bias[kQProj] = t.bias[kKProj] = t.bias[kVProj] = true;
  t.windows = parse_qwen_windows(config, t.num_hidden_layers);
  return t;
}

std::vector<int32_t> parse_qwen_windows(const ConfigReader& config, int32_t num_layers, int32_t first_layer) {
  const bool is_used = config.boolean("use_sliding_window", false) && !config.has_null("sliding_window");
  const int32_t window = is_used ? config.integer("sliding_window", 4096, 1, INT32_MAX) : 0;
  const int32_t first = config.integer("max_window_layers", first_layer, 0, INT32_MAX);
  const std::vector<std::string> types = config.strings("layer_types");
  if (config.has("layer_types") && types.size() != size_t(num_layers))
    config.fail("layer_types", cat("one of each of ", num_layers, " layers"));
  std::vector<int32_t> windows(static_cast<size_t>(num_layers), 0);
  for (size_t i = 0; i < windows.size(); ++i) {
    const std::string type = !types.empty() ? types[i] : int32_t(i) >= first ? "sliding_attention" : "full_attention";
    if (type != "sliding_attention" && type != "full_attention")
      config.fail("layer_types", "\"full_attention\" or \"sliding_attention\" of every layer");
    if (type == "full_attention") continue;
    if (!types.empty() && !is_used)
      config.fail("layer_types", "\"full_attention\" on every layer, as there is no window (use_sliding_window)");
    windows[i] = window;
  }
  return windows;
}

}  // namespace vpref
