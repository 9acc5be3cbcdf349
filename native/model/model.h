// SPDX-License-Identifier: Apache-2.0
// The model's picture: Config, Weights. Shape letters: T packed rows, D hidden, H heads, G kv heads, E head size, F mlp, V vocabulary,
// L layers, S image side, P patches of an image, C vision hidden.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/tensor.h"
#include "input/pixels.h"
#include "ops/gelu.h"

namespace vpref {

// Keys keep the checkpoint's own names.
struct TextConfig {
  int32_t vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim;
  int32_t max_position_embeddings;
  float rms_norm_eps;
  bool tie_word_embeddings;
  bool attention_bias = false, mlp_bias = false;
  std::vector<float> inv_freq;  // [E/2], rope_theta and rope scaling applied
};

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
  std::string model_type;  // "llava" or "llama"
  TextConfig text;
  bool has_vision = false;
  VisionConfig vision;
  Gelu projector_hidden_act = Gelu::exact;
  bool projector_bias = true;
  int32_t image_token_id = -1;
  std::vector<int32_t> eos_token_ids;
  int32_t bos_token_id = -1;
  // Rows that one image takes among the tokens.
  int32_t num_image_rows() const { return has_vision ? vision.num_patches() + (vision.drop_class_token ? 0 : 1) : 0; }
};

// y = x W^T (+ bias) + sum over adapters of scale * (x A^T) B^T. Stacked, unmerged and switched-off adapters are one mechanism.
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
  Tensor input_layernorm;           // [D]
  Linear q_proj, k_proj, v_proj;    // [H*E, D], [G*E, D], [G*E, D]
  Linear o_proj;                    // [D, H*E]
  Tensor post_attention_layernorm;  // [D]
  Linear gate_proj, up_proj;        // [F, D]
  Linear down_proj;                 // [D, F]
};

struct VisionLayer {
  Tensor layer_norm1_weight, layer_norm1_bias, layer_norm2_weight, layer_norm2_bias;  // [C]
  Linear q_proj, k_proj, v_proj, out_proj;                                            // [C, C] + bias
  Linear fc1, fc2;                                                                    // [4C, C], [C, 4C] + bias
};

struct Weights {
  Tensor embed_tokens;  // [V, D]
  std::vector<DecoderLayer> layers;
  Tensor norm;          // [D]
  Linear lm_head;       // [V, D]; the embedding's own view when tied
  // Vision tower (CLIP) and projector; empty for text-only models.
  Tensor class_embedding;               // [C]
  Linear patch_embedding;               // [C, 3 * patch * patch]
  Tensor position_embedding;            // [P + 1, C]
  Tensor pre_layrnorm_weight, pre_layrnorm_bias;  // [C] (the checkpoint's spelling)
  std::vector<VisionLayer> vision_layers;
  Linear projector_1, projector_2;      // [D, C], [D, D] + bias
};

}  // namespace vpref
