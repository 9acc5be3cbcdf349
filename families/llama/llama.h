// SPDX-License-Identifier: Apache-2.0
// The decoder of Llama's architecture, for every family that uses it.
#pragma once
#include <vector>

#include "families/family.h"

namespace vpref {

// Defaults of a transformers class for keys that config.json omits. Hub files omit keys that equal them. Most classes
// agree on the last ones.
struct TextDefaults {
  const char* model_type;
  int32_t vocab_size, intermediate_size;
  int32_t num_key_value_heads = 0;  // 0: one per query head
  int32_t head_dim = 0;             // 0: hidden_size / num_attention_heads
  int32_t max_position_embeddings;
  int32_t hidden_size = 4096, num_hidden_layers = 32, num_attention_heads = 32;
  double rms_norm_eps = 1e-6, rope_theta = 1e4;
  bool has_mrope = false;  // rope type "mrope" is "default" beside a mrope_section
};

// For every family with a decoder of Llama's architecture: everything except biases, q/k norm and windows. `config`
// holds the keys: config.json, or its text_config.
TextConfig parse_text(const ConfigReader& config, const TextDefaults& defaults);
// The object with the rope's parameters.
ConfigReader rope_reader(const ConfigReader& config);
// [size / 2] theta^(-2i / size), rounded as in transformers.
std::vector<float> rope_frequencies(int32_t size, double theta);
TextConfig parse_llama_text(const ConfigReader& config);
// The tensors of a text-only family.
FamilyTensors list_decoder_tensors(const ModelConfig& config, Weights& weights);
// Adds the decoder's tensors: group `text` holds embed_tokens, layers and norm; group `head` holds lm_head.
void list_llama_tensors(const TextConfig& config, Weights& weights, int text, int head, FamilyTensors& out);

}  // namespace vpref
