// SPDX-License-Identifier: Apache-2.0
// What a model family owns: how its config.json reads, and under which names its tensors stand in the files.
#pragma once
#include <string>
#include <vector>

#include "model/config_reader.h"
#include "model/model.h"

namespace vpref {

// A tensor the model needs: its place, its shape, and where it stands in a file: one of `prefixes` + name.
struct TensorSpec {
  Tensor* slot;                       // null: known, checked and not used (vision layers above the feature layer)
  std::vector<int64_t> stored_shape;  // as in the file
  std::vector<int64_t> shape;         // as the model reads it (a convolution as a matrix)
  int group;                          // index into FamilyTensors::groups
  std::string name;                   // within the group, "layers.0.self_attn.q_proj.weight"
  bool optional = false;              // a tied head may stand in the file or not
};

// A linear layer by its module path within a group, for adapters.
struct LinearSpec {
  Linear* linear;
  int group;
  std::string path;  // "layers.0.self_attn.q_proj"
};

// Spellings of a group's prefix, newest hub spelling first; a file uses one of them throughout.
struct TensorGroup {
  std::vector<std::string> prefixes;
  std::string module;                      // in transformers' module tree since 4.52, which adapters use
  std::vector<std::string> other_modules;  // spellings that peft 0.21 finds too; it loads others without effect
};

struct FamilyTensors {
  std::vector<TensorGroup> groups;
  std::vector<TensorSpec> tensors;
  std::vector<LinearSpec> linears;
};

struct Family {
  const char* model_type;
  // Throws Error{"config"} naming the key.
  ModelConfig (*parse_config)(const ConfigReader& config);
  // Sizes weights.layers and vision_layers and lists every tensor.
  FamilyTensors (*list_tensors)(const ModelConfig& config, Weights& weights);
};

// The family of a config.json's model_type. Throws Error{"config"} naming the supported ones and the nearest of them.
const Family& find_family(const ConfigReader& config);

extern const Family llama_family;
extern const Family llava_family;
extern const Family mistral_family;
extern const Family qwen2_family;
extern const Family qwen3_family;

// What transformers' class of a decoder takes where config.json leaves a key out, as hub files do with what equals it.
// Where they all agree parse_text knows it.
struct TextDefaults {
  const char* model_type;
  int32_t vocab_size, intermediate_size;
  int32_t num_key_value_heads = 0;  // 0: one a query head
  int32_t head_dim = 0;             // 0: hidden_size / num_attention_heads
  int32_t max_position_embeddings;
};

// Shared by every family with a decoder of Llama's shape: all but its biases, q/k norm and windows. The keys stand in
// `config` itself: config.json, or its text_config.
TextConfig parse_text(const ConfigReader& config, const TextDefaults& defaults);
TextConfig parse_llama_text(const ConfigReader& config);
TextConfig parse_mistral_text(const ConfigReader& config);
TextConfig parse_qwen2_text(const ConfigReader& config);
TextConfig parse_qwen3_text(const ConfigReader& config);
// [L], of the Qwens: use_sliding_window, sliding_window, max_window_layers, layer_types.
std::vector<int32_t> parse_qwen_windows(const ConfigReader& config, int32_t num_layers);
// The tensors of a text-only family.
FamilyTensors list_decoder_tensors(const ModelConfig& config, Weights& weights);
// Adds the decoder's tensors: group `text` holds embed_tokens, layers and norm; group `head` holds lm_head.
void list_llama_tensors(const TextConfig& config, Weights& weights, int text, int head, FamilyTensors& out);
// Adds weight and bias of one linear layer.
void list_linear(Linear& linear, int64_t outputs, int64_t inputs, bool bias, int group, const std::string& path,
                 FamilyTensors& out);

}  // namespace vpref
