// SPDX-License-Identifier: Apache-2.0
// The model's picture: Config, Weights. Shape letters: T packed rows, D hidden, H heads, G kv heads, E head size, F
// mlp, V vocabulary, L layers, S image side, P patches of an image, C vision hidden.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/tensor.h"
#include "input/pixels.h"
#include "model/image_layout.h"
#include "ops/gelu.h"

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

struct VisionConfig {
  int32_t hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, image_size, patch_size;
  float layer_norm_eps;
  Gelu hidden_act;
  int32_t num_layers_used;  // vision_feature_layer -2 of 24 layers: 23
  bool drop_class_token;    // vision_feature_select_strategy "default"
  Normalisation normalisation;
  // Patches of an image; pixels beyond the last whole patch are not seen.
  int32_t num_patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

struct ModelConfig {
  std::string model_type;  // as in config.json
  TextConfig text;
  bool has_vision = false;
  VisionConfig vision;
  Gelu projector_hidden_act = Gelu::exact;
  bool projector_bias = true;
  int32_t image_token_id = -1;
  ImageLayout image_layout;  // of every image, while all have one size
  std::vector<int32_t> eos_token_ids;
  int32_t bos_token_id = -1;
  // Rows that one image takes among the tokens.
  int32_t num_image_rows() const { return has_vision ? vision.num_patches() + (vision.drop_class_token ? 0 : 1) : 0; }
};

// y = x W^T (+ bias) + sum over adapters of scale * (x A^T) B^T. Stacked, unmerged and switched-off adapters are one
// mechanism.
struct LoraPair {
  Tensor a;     // [r, K]
  Tensor b;     // [N, r]
  float scale;  // alpha / r (rsLoRA: alpha / sqrt(r))
  bool enabled = true;
};

struct Linear {
  Tensor weight;  // [N, K]
  Tensor bias;    // [N] or empty
  std::vector<LoraPair> adapters;
};

struct DecoderLayer {
  Tensor input_layernorm, post_attention_layernorm;  // [D]
  Tensor q_norm, k_norm;                             // [E], both or neither
  PerLinear<Linear> linears;
  int32_t window = 0;  // as of TextConfig::windows
};

struct VisionLayer {
  Tensor layer_norm1_weight, layer_norm1_bias, layer_norm2_weight, layer_norm2_bias;  // [C]
  Linear q_proj, k_proj, v_proj, out_proj;                                            // [C, C] + bias
  Linear fc1, fc2;                                                                    // [4C, C], [C, 4C] + bias
};

struct Weights {
  Tensor embed_tokens;  // [V, D]
  std::vector<DecoderLayer> layers;
  Tensor norm;     // [D]
  Linear lm_head;  // [V, D]; the embedding's own view when tied
  // Vision tower (CLIP) and projector; empty for text-only models.
  Tensor class_embedding;                         // [C]
  Linear patch_embedding;                         // [C, 3 * patch * patch]
  Tensor position_embedding;                      // [P + 1, C]
  Tensor pre_layrnorm_weight, pre_layrnorm_bias;  // [C] (the checkpoint's spelling)
  std::vector<VisionLayer> vision_layers;
  Linear projector_1, projector_2;  // [D, C], [D, D] + bias
};

}  // namespace vpref
