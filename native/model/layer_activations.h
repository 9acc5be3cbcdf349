// SPDX-License-Identifier: Apache-2.0
// What a decoder layer keeps for its backward, per recompute level, and the memory of what it does not keep.
// Sizes: see decoder_layer.h.
#pragma once
#include "core/arena.h"
#include "model/model.h"

namespace vpref {

// What a layer's backward needs. Tensors left empty are recomputed from the others (recompute levels).
struct LayerActivations {
  Tensor residual;   // [T,D] the layer's input; always kept
  Tensor rstd;       // [T] f32
  Tensor normed;     // [T,D]                        dropped at level 1
  Tensor qkv;        // [T,(H+2G)*E] queries and keys after rope, values; with q_norm and k_norm before these
  Tensor qk;         // [T,(H+G)*E] with q_norm and k_norm: queries and keys after norm and rope; dropped at level 1
  Tensor qk_rstd;    // [H+G,T] f32 of these norms;  dropped at level 1
  Tensor attention;  // [T,H*E]
  Tensor lse;        // [T,H] f32
  Tensor residual2;  // [T,D] after attention
  Tensor rstd2;      // [T] f32
  Tensor normed2;    // [T,D]                        dropped at level 1
  Tensor gate_up;    // [T,2F]
  Tensor product;    // [T,F] swiglu(gate, up)       dropped at level 1
  PerLinear<Tensor> lora_h;  // [T, rank] x A^T of each linear with adapters; dropped at level 2
};

// 0: keep all; 1: drop what is cheap to recompute (norm outputs, the SwiGLU product); 2: also the LoRA h; 3: keep the
// layer's input only.
using RecomputeLevel = int;

LayerActivations make_activations(const ModelConfig& config, const DecoderLayer& layer, int64_t num_rows, DType dtype,
                                  RecomputeLevel level, Arena& arena);
// Gives every tensor that a recompute level dropped memory in `scratch`; its values are still to be computed.
void complete_activations(const ModelConfig& config, const DecoderLayer& layer, LayerActivations& a, Arena& scratch);
// Gives `t` memory for [rows, cols], unless it has some.
void ensure(Tensor& t, int64_t rows, int64_t cols, DType dtype, Arena& arena);

// Widths of a layer, in columns.
struct LayerSizes {
  int64_t d, q, kv, f, heads;
  explicit LayerSizes(const ModelConfig& c)
      : d(c.text.hidden_size),
        q(c.text.query_width()),
        kv(c.text.kv_width()),
        f(c.text.intermediate_size),
        heads(c.text.num_attention_heads) {}
};

}  // namespace vpref
