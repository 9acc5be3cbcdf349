// SPDX-License-Identifier: Apache-2.0
// Qwen3 (dense): Llama's decoder with an RMSNorm of each query and key head before rope.
#include "families/qwen3/qwen3.h"

#include "families/qwen2/qwen2.h"

namespace vpref {

namespace {

ModelConfig parse_config(const ConfigReader& config) {
  return text_model("qwen3", parse_qwen3_text(config), config, {.eos = {}, .bos = -1});
}

}  // namespace

extern const Family qwen3_family;
const Family qwen3_family = {"qwen3", parse_config, nullptr, list_decoder_tensors};

TextConfig parse_qwen3_text(const ConfigReader& config) {
  TextConfig t = parse_text(config, {.model_type = "qwen3",
                                     .vocab_size = 151936,
                                     .intermediate_size = 22016,
                                     .num_key_value_heads = 32,
                                     .head_dim = 128,
                                     .max_position_embeddings = 32768});
  const bool bias = config.boolean("attention_bias", false);
  t.bias[kQProj] = t.bias[kKProj] = t.bias[kVProj] = t.bias[kOProj] = bias;
  t.qk_norm = true;
  t.windows = parse_qwen_windows(config, t.num_hidden_layers);
  return t;
}

}  // namespace vpref
