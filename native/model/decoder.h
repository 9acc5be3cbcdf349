// SPDX-License-Identifier: Apache-2.0
// The Llama decoder over packed rows: embedding, layers, head; forward, and backward by hand in the same order reversed.
//   T packed rows, D hidden, H heads, G kv heads, E head size, F mlp, V vocabulary, R scored rows, N kv rows.
// Everything runs in the compute dtype (f32 or bf16) with f32 accumulation inside the ops.
#pragma once
#include <vector>

#include "core/arena.h"
#include "model/linear.h"
#include "model/model.h"
#include "model/tree.h"

namespace vpref {

// What a layer's backward needs. Tensors left empty are recomputed from the others (recompute levels).
struct LayerActivations {
  Tensor residual;   // [T,D] the layer's input; always kept
  Tensor rstd;       // [T] f32
  Tensor normed;     // [T,D]                        dropped at level 1
  Tensor qkv;        // [T,(H+2G)*E] queries and keys after rope, values
  Tensor attention;  // [T,H*E]
  Tensor lse;        // [T,H] f32
  Tensor residual2;  // [T,D] after attention
  Tensor rstd2;      // [T] f32
  Tensor normed2;    // [T,D]                        dropped at level 1
  Tensor gate_up;    // [T,2F]
  Tensor product;    // [T,F] swiglu(gate, up)       dropped at level 1
  PerLinear<Tensor> lora_h;  // [T, rank] x A^T of each linear with adapters; dropped at level 2
};

// 0: keep all; 1: drop what is cheap to recompute (norm outputs, the SwiGLU product); 2: also the LoRA h; 3: keep the layer's input only.
using RecomputeLevel = int;

// Bytes that make_activations takes from the arena for one layer of `num_rows` rows.
size_t activation_bytes(const ModelConfig& config, const DecoderLayer& layer, int64_t num_rows, DType dtype, RecomputeLevel level);
LayerActivations make_activations(const ModelConfig& config, const DecoderLayer& layer, int64_t num_rows, DType dtype, RecomputeLevel level, Arena& arena);

// Scratch bytes that one layer's forward (backward = false) or backward needs at most.
size_t decoder_scratch_bytes(const ModelConfig& config, const Weights& weights, int64_t num_rows, DType dtype, bool backward);

// Where new keys and values go: the cache of one layer and the cache row of each new row.
struct KvTarget {
  Tensor k, v;  // [N,G*E]
  Tensor rows;  // [T] i32
};

// The residual stream on its way through the layers. What a layer adds last is left to the next norm, which sums in the same pass over memory.
struct Residual {
  // own: [T,D] the stream, and its memory where no activations keep it; delta: [T,D] memory for what a layer adds.
  Residual(const Tensor& own, const Tensor& delta) : own(own), delta(delta), x(own) {}
  // The stream with everything added: delta's memory, once a layer has run. Nothing that is kept changes.
  Tensor sum(Context& ctx) const;

  Tensor own, delta;
  Tensor x;              // own, or what a layer's activations keep
  bool pending = false;  // delta is still to be added to x
};

// What every layer of one call shares.
struct DecoderCall {
  Tensor positions;           // [1,T] i32
  Tensor inv_freq;            // [E/2] f32 on the device
  const AttentionPlan* plan;  // ranges are rows of the cache, or of this call where there is none
};

// One layer of the stream. kv: null where the call's own rows are all there is (training, scoring). saved: null where no backward follows.
void decoder_layer(Context& ctx, const ModelConfig& config, const DecoderLayer& layer, const DecoderCall& call, Residual& stream, const KvTarget* kv,
                   LayerActivations* saved, Arena& scratch);
// The pieces that last_decoder_layer shares with it.
void residual_norm(Context& ctx, const ModelConfig& config, const Tensor& weight, Residual& stream, const Tensor& sum, const Tensor& normed, const Tensor& rstd);

// Gradients of a layer's parameters; empty = frozen.
struct LayerGrads {
  PerLinear<LinearGrads> linears;
  Tensor input_layernorm, post_attention_layernorm;  // [D]
};

// dx[T,D]: gradient of the layer's output in, of its input out, in place. With need_dx = false (first layer, frozen embedding and projector) the
// part of the gradient that only flows further down is left out and dx is not meaningful afterwards.
void decoder_layer_backward(Context& ctx, const ModelConfig& config, const DecoderLayer& layer, const DecoderCall& call, const LayerActivations& saved,
                            const LayerGrads& grads, const Tensor& dx, bool need_dx, Arena& scratch);

// x[t] = embedding of token_ids[t], or the image row where token_ids[t] is -1: image_index[t] is its row of image_features (-1 elsewhere).
//   token_ids, image_index: [T] i32 on the device; image_features: [rows, D] or empty.
void embed(Context& ctx, const Weights& weights, const Tensor& token_ids, const Tensor& image_index, const Tensor& image_features, const Tensor& x);

// What the head's backward needs; R rows.
struct HeadActivations {
  Tensor residual;  // [R,D] the gathered rows
  Tensor rstd;      // [R] f32
  Tensor normed;    // [R,D]
  Tensor dnormed;   // [R,D] d logp / d normed: one row each, not yet weighted
};

size_t head_activation_bytes(const ModelConfig& config, int64_t num_targets, DType dtype);
HeadActivations make_head_activations(const ModelConfig& config, int64_t num_targets, DType dtype, Arena& arena);
size_t head_scratch_bytes(const ModelConfig& config, int64_t num_targets, int64_t chunk_rows, DType dtype);

// logps[i] = log p(targets[i] | row target_rows[i]) of x[T,D]. Only these rows meet the final norm and the head, `chunk_rows` at a time: full logits
// are never kept. saved: also prepares the backward (dnormed), so the head is read once each way.
//   target_rows, targets: [R] i32 on the device; logps: [R] f32 on the device.
void head_logps(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& x, const Tensor& target_rows, const Tensor& targets,
                int64_t chunk_rows, const Tensor& logps, const HeadActivations* saved, Arena& scratch);

// dx[T,D] += the gradient of sum_i row_weight[i] * logps[i]. norm, lm_head: gradients in full fine-tuning, empty when frozen
// (the head's needs a second pass over the logits, since the weights were not known in the first).
//   row_weight: [R] f32 on the device. saved.dnormed is overwritten.
void head_logps_backward(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& target_rows, const Tensor& targets,
                         const Tensor& row_weight, int64_t chunk_rows, const HeadActivations& saved, const Tensor& dx, const Tensor& norm_grad,
                         const Tensor& lm_head_grad, Arena& scratch);

}  // namespace vpref
