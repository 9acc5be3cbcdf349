// SPDX-License-Identifier: Apache-2.0
// The model as data: Config, Weights. T packed rows, D hidden, H heads, G kv heads, E head size, F mlp, V vocabulary, L
// layers.
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

// The linears of a decoder layer. Data per linear (weights, gradients, whether it has a bias) are arrays in this order.
enum LayerLinear : size_t { kQProj, kKProj, kVProj, kOProj, kGateProj, kUpProj, kDownProj, kNumLinears };
template <class T>
using PerLinear = std::array<T, kNumLinears>;

// Adjacent linears that read the same rows; their outputs are adjacent columns. On a GPU their weights are adjacent
// too, and are one product.
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

// Members have the names of the checkpoint's keys.
struct TextConfig {
  int32_t vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads,
      head_dim;
  int32_t max_position_embeddings;
  float rms_norm_eps;
  bool tie_word_embeddings;
  PerLinear<bool> bias{};
  bool qk_norm = false;            // query and key heads are normalised before rope
  std::vector<int32_t> windows;    // [L] maximum keys that a query of the layer attends to, including its own; 0: all
  std::vector<float> inv_freq;     // [E/2], rope_theta and rope scaling applied
  int32_t num_position_axes = 1;   // P; 3 with M-RoPE: time, height, width
  std::vector<int32_t> rope_axis;  // [E/2] the axis of each frequency; empty if P is 1
  int64_t hidden_width() const { return hidden_size; }
  int64_t query_width() const { return int64_t(num_attention_heads) * head_dim; }
  int64_t kv_width() const { return int64_t(num_key_value_heads) * head_dim; }
  int64_t mlp_width() const { return intermediate_size; }
};

// Facts about each linear, for loading, adapters, training and the commands.
struct LinearInfo {
  const char* name;  // PEFT's target name
  const char* path;  // path below the layer
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

// Paths of a model's parts in transformers' module tree, which adapters use.
struct ModuleNames {
  std::string text = "model.";         // the decoder; followed by "layers.N"
  std::vector<std::string> connector;  // modules_to_save names of the connector's parts
};

struct ModelConfig {
  std::string model_type;  // as in config.json
  TextConfig text;
  ModuleNames modules;
  bool has_vision = false;
  int32_t image_token_id = -1;
  // Owned by the weights; computes the layout of images. Null for text-only models.
  const Vision* vision = nullptr;
  std::vector<int32_t> eos_token_ids;
  int32_t bos_token_id = -1;
};

// Dropout on the input of A of trained pairs, during a training pass.
struct LoraDropout {
  float p = 0;
  uint64_t seed = 0;
  Tensor rows;  // [T,2] i32, the words that identify a row (ops/dropout.h); empty: no dropout
};

// y = x W^T (+ bias) + sum over adapters of scale * (x A^T) B^T. This one form covers stacked, unmerged and disabled
// adapters.
struct LoraPair {
  Tensor a;     // [r, K]
  Tensor b;     // [N, r]
  float scale;  // alpha / r (rsLoRA: alpha / sqrt(r))
  bool enabled = true;
  const LoraDropout* dropout = nullptr;
  uint32_t place = 0;  // index of its linear among all linears
  bool drops() const { return dropout && dropout->rows; }
};

struct Linear {
  Tensor weight;  // [N, K]; empty if packed
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
  int32_t window = 0;  // as in TextConfig::windows
};

struct Weights {
  Tensor embed_tokens;  // [V, D]
  std::vector<DecoderLayer> layers;
  Tensor norm;                     // [D]
  Linear lm_head;                  // [V, D]; a view of the embedding if tied
  std::unique_ptr<Vision> vision;  // null for text-only models
};

// The layouts of images. Throw Error{"request"} if the tower does not accept them, or pixels are missing.
ImageLayout layout_of(const ModelConfig& config, const Image& image);
std::vector<ImageLayout> layouts_of(const ModelConfig& config, std::span<const Image> images);

}  // namespace vpref
