// SPDX-License-Identifier: Apache-2.0
// The Llama decoder over packed rows: embedding and the loop over its layers, for sampling, scoring and training.
//   T packed rows, D hidden, L layers, R wanted rows.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "model/decoder_layer.h"

namespace vpref {

// The rope frequencies of a model, and the position axis of each, on the device.
class RopeTables {
 public:
  RopeTables(Context& ctx, const TextConfig& text);
  Rotation at(const Tensor& positions) const { return {positions, inv_freq_, axis_}; }
  const void* data() const { return buffer_.data(); }

 private:
  Buffer buffer_;
  Tensor inv_freq_, axis_;
};

// x[t] = embedding of token_ids[t], or row image_index[t] of image_features if token_ids[t] is -1 (image_index is -1
// elsewhere).
//   token_ids, image_index: [T] i32 on the device; image_features: [rows, D] or empty.
void embed(Context& ctx, const Weights& weights, const Tensor& token_ids, const Tensor& image_index,
           const Tensor& image_features, const Tensor& x);

// Rows that are added to the residual stream after a layer: one plane of an image (DeepStack). After the last layer
// their indices count wanted rows.
struct AddedRows {
  size_t layer;
  int64_t row;  // index of the first row in the stream
  Tensor rows;  // [n,D]
};

// Optional outputs and callbacks of decoder_forward.
struct DecoderSink {
  std::function<void(size_t layer)> before;  // called before each layer; an exception ends the pass
  std::function<KvTarget(size_t layer)>
      kv;  // destination of new keys and values; not set: attention reads only the rows of the call
  std::vector<LayerActivations>* activations = nullptr;  // gets one entry per layer, in the arena, for a backward
  RecomputeLevel level = 0;
  std::span<const AddedRows> added;
  const WantedRows* wanted = nullptr;  // not set: all rows, if `out` is given
};

// Runs x[T,D] through all layers, in place. out: [R,D], receives the residual stream of the wanted rows; empty: only
// the outputs of the sink are needed.
void decoder_forward(Context& ctx, const Weights& weights, const DecoderCall& call, const Tensor& x, const Tensor& out,
                     const DecoderSink& sink, Arena& arena);

// Activations that decoder_forward kept, and destinations of the gradients, one per layer.
struct DecoderBackward {
  std::span<const LayerActivations> saved;
  std::span<const LayerGrads> grads;
  bool need_dx;  // false: nothing below the first layer is trained, and dx is meaningless afterwards
  std::function<void(size_t layer)> before, after;
};

// dx[T,D]: on entry the gradient of the stream after the last layer, on return the gradient of x; in place.
void decoder_backward(Context& ctx, const Weights& weights, const DecoderCall& call, const DecoderBackward& pass,
                      const Tensor& dx, Arena& scratch);

}  // namespace vpref
