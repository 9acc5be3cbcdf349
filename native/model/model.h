// SPDX-License-Identifier: Apache-2.0
// The model's picture: Config, Weights. Shape letters: T packed rows, D hidden, H heads, G kv heads, E head size, F
// mlp, V vocabulary, L layers.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/packed_weight.h"
#include "core/tensor.h"
#include "model/vision.h"

namespace vpref {

// The linears of a decoder layer. What there is per linear (weights, gradients, bias or none) is an array over them.
enum LayerLinear : size_t { kQProj, kKProj, kVProj, kOProj, kGateProj, kUpProj, kDownProj, kNumLinears };
template <class T>
using PerLinear = std::array<T, kNumLinears>;

// Neighbours in that order which read the same rows; their outputs stand side by side. On a GPU their weights do too,
// and are one product.
struct LinearStack {
  size_t first, count;
  template <class T>
  std::span<T> of(PerLinear<T>& all) const {
    return std::span<T>(all).subspan(first, count);
  }
  template <class T>
  std::span<const T> of(const PerLinear<T>& all) const {
    return std::span<const T>(all).subspan(first, count);
  }
};
constexpr LinearStack kQkv{kQProj, 3}, kAttentionOut{kOProj, 1}, kGateUp{kGateProj, 2}, kMlpOut{kDownProj, 1};

// Keys keep the checkpoint's own names.
struct TextConfig {
  int32_t vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads,
      head_dim;
  int32_t max_position_embeddings;
  float rms_norm_eps;
  bool tie_word_embeddings;
  PerLinear<bool> bias{};
  bool qk_norm = false;            // query and key heads are normed before they are rotated
  std::vector<int32_t> windows;    // [L] keys that a query of the layer sees at most, itself with them; 0: all
  std::vector<float> inv_freq;     // [E/2], rope_theta and rope scaling applied
  int32_t num_position_axes = 1;   // P; 3 with M-RoPE: time, height, width
  std::vector<int32_t> rope_axis;  // [E/2] which of them a frequency reads; empty where P is 1
  int64_t hidden_width() const { return hidden_size; }
  int64_t query_width() const { return int64_t(num_attention_heads) * head_dim; }
  int64_t kv_width() const { return int64_t(num_key_value_heads) * head_dim; }
  int64_t mlp_width() const { return intermediate_size; }
};

// What is known of each linear: loading, adapters, training and the commands read it here.
struct LinearInfo {
  const char* name;  // as a target of PEFT
  const char* path;  // below the layer's
  int64_t (TextConfig::*outputs)() const;
  int64_t (TextConfig::*inputs)() const;
};
inline constexpr PerLinear<LinearInfo> kLinears = {{
    {"q_proj", "self_attn.q_proj", &TextConfig::query_width, &TextConfig::hidden_width},
    {"k_proj", "self_attn.k_proj", &TextConfig::kv_width, &TextConfig::hidden_width},
    {"v_proj", "self_attn.v_proj", &TextConfig::kv_width, &TextConfig::hidden_width},
    {"o_proj", "self_attn.o_proj", &TextConfig::hidden_width, &TextConfig::query_width},
    {"gate_proj", "mlp.gate_proj", &TextConfig::mlp_width, &TextConfig::hidden_width},
    {"up_proj", "mlp.up_proj", &TextConfig::mlp_width, &TextConfig::hidden_width},
    {"down_proj", "mlp.down_proj", &TextConfig::hidden_width, &TextConfig::mlp_width},
}};

// Where the parts of a model stand in transformers' module tree, which adapters use.
struct ModuleNames {
  std::string text = "model.";         // of the decoder; "layers.N" follows
  std::vector<std::string> connector;  // names that modules_to_save has for the connector's parts
};

struct ModelConfig {
  std::string model_type;  // as in config.json
  TextConfig text;
  ModuleNames modules;
  bool has_vision = false;
  int32_t image_token_id = -1;
  // The weights' own; what an image is among the tokens is asked of it. Null for text-only models.
  const Vision* vision = nullptr;
  std::vector<int32_t> eos_token_ids;
  int32_t bos_token_id = -1;
};

// Dropout on what the A of trained pairs reads, while a pass that is to be learnt from is under way.
struct LoraDropout {
  float p = 0;
  uint64_t seed = 0;
  Tensor rows;  // [T,2] i32, what tells a row of the pass from all others (ops/dropout.h); empty: nothing is dropped
};

// y = x W^T (+ bias) + sum over adapters of scale * (x A^T) B^T. Stacked, unmerged and switched-off adapters are one
// mechanism.
struct LoraPair {
  Tensor a;     // [r, K]
  Tensor b;     // [N, r]
  float scale;  // alpha / r (rsLoRA: alpha / sqrt(r))
  bool enabled = true;
  const LoraDropout* dropout = nullptr;
  uint32_t place = 0;  // of its linear among all
  bool drops() const { return dropout && dropout->rows; }
};

struct Linear {
  Tensor weight;  // [N, K]; empty where it is packed
  Tensor bias;    // [N] or empty
  std::vector<LoraPair> adapters;
  PackedWeight packed;
  int64_t outputs() const { return packed ? packed.num_rows : weight.dim(0); }
  int64_t inputs() const { return packed ? packed.num_cols : weight.dim(1); }
};

struct DecoderLayer {
  Tensor input_layernorm, post_attention_layernorm;  // [D]
  Tensor q_norm, k_norm;                             // [E], both or neither
  PerLinear<Linear> linears;
  int32_t window = 0;  // as of TextConfig::windows
};

struct Weights {
  Tensor embed_tokens;  // [V, D]
  std::vector<DecoderLayer> layers;
  Tensor norm;                     // [D]
  Linear lm_head;                  // [V, D]; the embedding's own view when tied
  std::unique_ptr<Vision> vision;  // null for text-only models
};

// What images are among the tokens. Throw Error{"request"} where the tower does not take them, or pixels are missing.
ImageLayout layout_of(const ModelConfig& config, const Image& image);
std::vector<ImageLayout> layouts_of(const ModelConfig& config, std::span<const Image> images);

}  // namespace vpref
