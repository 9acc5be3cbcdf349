// SPDX-License-Identifier: Apache-2.0
// One layer of the Llama decoder over packed rows: forward, and a hand-written backward.
//   T packed rows, D hidden, H heads, G kv heads, E head size, F mlp, R wanted rows, N kv rows.
// All tensors have the compute dtype (f32 or bf16); the ops accumulate in f32.
#pragma once
#include "core/arena.h"
#include "model/layer_activations.h"
#include "model/linear.h"
#include "model/model.h"
#include "ops/attention.h"
#include "ops/rope.h"

namespace vpref {

// Destination of new keys and values: the cache of one layer, and the cache row of each new row.
struct KvTarget {
  Tensor k, v;  // [N,G*E]
  Tensor rows;  // [T] i32
};

// The residual stream between layers. The last addition of a layer is left pending: the next norm does it in the same
// pass over memory.
struct Residual {
  // own: [T,D] the stream, and its memory unless activations keep it; delta: [T,D] memory for a layer's output.
  Residual(const Tensor& own, const Tensor& delta) : own(own), delta(delta), x(own) {}
  // Adds what is pending and returns the stream: delta's memory if a layer has run. Kept activations do not change.
  Tensor sum(Context& ctx) const;

  Tensor own, delta;
  Tensor x;              // own, or the tensor that a layer's activations keep
  bool pending = false;  // delta is not yet added to x
};

// Data shared by all layers of one call.
struct DecoderCall {
  const ModelConfig* config;
  Rotation rotation;          // positions [P,T]
  const AttentionPlan* plan;  // ranges are rows of the cache, or of this call if there is no cache
};

// The rows that are read after the last layer, if not all are. Every row writes its key and value; only wanted rows go
// through the rest of the layer. Scoring and prefill read few rows of hundreds.
struct WantedRows {
  Tensor rows;                // [R] i32, ascending
  Tensor positions;           // [P,R] i32
  const AttentionPlan* plan;  // queries are the wanted rows in order; ranges as in the call's plan
};

// Optional outputs of a layer; null: not needed.
struct LayerSink {
  const KvTarget* kv = nullptr;       // null: attention reads only the call's rows (training, scoring)
  LayerActivations* saved = nullptr;  // null: no backward follows
  const WantedRows* wanted = nullptr;
  Residual* narrow = nullptr;  // with `wanted`: the stream of the wanted rows
};

// Adds the layer to the stream. With `wanted`, adds it to `narrow`, which starts here and may use the delta memory of
// `stream`.
void decoder_layer(Context& ctx, const DecoderLayer& layer, const DecoderCall& call, Residual& stream,
                   const LayerSink& sink, Arena& scratch);

// Gradients of a layer's parameters; empty: frozen.
struct LayerGrads {
  PerLinear<LinearGrads> linears;
  Tensor input_layernorm, post_attention_layernorm;  // [D]
  Tensor q_norm, k_norm;                             // [E]
};

// Activations that the layer's forward kept, and destinations of the gradients. need_dx false (first layer, frozen
// embedding and projector): the gradient of the layer's input is not computed, and dx is meaningless afterwards.
struct LayerBackward {
  const LayerActivations& saved;
  const LayerGrads& grads;
  bool need_dx;
};

// dx[T,D]: on entry the gradient of the layer's output, on return of its input; in place.
void decoder_layer_backward(Context& ctx, const DecoderLayer& layer, const DecoderCall& call, const LayerBackward& pass,
                            const Tensor& dx, Arena& scratch);

}  // namespace vpref
