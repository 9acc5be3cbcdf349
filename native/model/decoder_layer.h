// SPDX-License-Identifier: Apache-2.0
// One layer of the Llama decoder over packed rows: forward, and backward by hand in the same order reversed.
//   T packed rows, D hidden, H heads, G kv heads, E head size, F mlp, R wanted rows, N kv rows.
// Everything runs in the compute dtype (f32 or bf16) with f32 accumulation inside the ops.
#pragma once
#include "core/arena.h"
#include "model/layer_activations.h"
#include "model/linear.h"
#include "model/model.h"
#include "ops/attention.h"
#include "ops/rope.h"

namespace vpref {

// Where new keys and values go: the cache of one layer and the cache row of each new row.
struct KvTarget {
  Tensor k, v;  // [N,G*E]
  Tensor rows;  // [T] i32
};

// The residual stream on its way through the layers. What a layer adds last is left to the next norm, which sums in the
// same pass over memory.
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
  const ModelConfig* config;
  Rotation rotation;          // positions [P,T]
  const AttentionPlan* plan;  // ranges are rows of the cache, or of this call where there is none
};

// The rows that are read after the last layer, when they are some of all: every row gives its key and value, only these
// go through the rest. Scoring and prefill want a few rows of hundreds.
struct WantedRows {
  Tensor rows;                // [R] i32, ascending
  Tensor positions;           // [P,R] i32
  const AttentionPlan* plan;  // queries are the wanted rows in order, ranges as the call's
};

// What a layer does beside its part of the stream; null: nothing.
struct LayerSink {
  const KvTarget* kv = nullptr;       // null: the call's own rows are all there is (training, scoring)
  LayerActivations* saved = nullptr;  // null: no backward follows
  const WantedRows* wanted = nullptr;
  Residual* narrow = nullptr;  // with `wanted`: their stream
};

// Adds the layer to the stream; with `wanted` to their stream, which begins here and may stand in the delta of the
// other.
void decoder_layer(Context& ctx, const DecoderLayer& layer, const DecoderCall& call, Residual& stream,
                   const LayerSink& sink, Arena& scratch);

// Gradients of a layer's parameters; empty = frozen.
struct LayerGrads {
  PerLinear<LinearGrads> linears;
  Tensor input_layernorm, post_attention_layernorm;  // [D]
  Tensor q_norm, k_norm;                             // [E]
};

// What the layer's forward kept, and where gradients go. need_dx false (first layer, frozen embedding and projector):
// the part of the gradient that only flows further down is left out, and dx is not meaningful afterwards.
struct LayerBackward {
  const LayerActivations& saved;
  const LayerGrads& grads;
  bool need_dx;
};

// dx[T,D]: gradient of the layer's output in, of its input out, in place.
void decoder_layer_backward(Context& ctx, const DecoderLayer& layer, const DecoderCall& call, const LayerBackward& pass,
                            const Tensor& dx, Arena& scratch);

}  // namespace vpref
