// SPDX-License-Identifier: Apache-2.0
// The Llama decoder over packed rows: embedding and the one walk over its layers, for sampling, scoring and training.
//   T packed rows, D hidden, L layers, R wanted rows.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "model/decoder_layer.h"

namespace vpref {

// The frequencies of a model's rope, and the axis of positions that each reads, on the device.
class RopeTables {
 public:
  RopeTables(Context& ctx, const TextConfig& text);
  Rotation at(const Tensor& positions) const { return {positions, inv_freq_, axis_}; }
  const void* data() const { return buffer_.data(); }

 private:
  Buffer buffer_;
  Tensor inv_freq_, axis_;
};

// x[t] = embedding of token_ids[t], or the image row where token_ids[t] is -1: image_index[t] is its row of
// image_features (-1 elsewhere).
//   token_ids, image_index: [T] i32 on the device; image_features: [rows, D] or empty.
void embed(Context& ctx, const Weights& weights, const Tensor& token_ids, const Tensor& image_index,
           const Tensor& image_features, const Tensor& x);

// Rows that are added to the stream after a layer: an image's plane (DeepStack). After the last layer they count among
// the wanted rows.
struct AddedRows {
  size_t layer;
  int64_t row;  // the first
  Tensor rows;  // [n,D]
};

// What a walk does beside the stream. What is not set is not done.
struct DecoderSink {
  std::function<void(size_t layer)> before;  // what it throws ends the walk
  std::function<KvTarget(size_t layer)>
      kv;  // where new keys and values go; not set: the call's own rows are all there is
  std::vector<LayerActivations>* activations = nullptr;  // gets one per layer, from the arena: a backward follows
  RecomputeLevel level = 0;
  std::span<const AddedRows> added;
  const WantedRows* wanted = nullptr;  // not set: all rows, where `out` is given
};

// Brings x[T,D], which it changes, through all layers. out: [R,D] gets the residual stream of the wanted rows, or
// empty: only what the sink keeps is of use.
void decoder_forward(Context& ctx, const Weights& weights, const DecoderCall& call, const Tensor& x, const Tensor& out,
                     const DecoderSink& sink, Arena& arena);

// What decoder_forward kept, and where gradients go; both one per layer.
struct DecoderBackward {
  std::span<const LayerActivations> saved;
  std::span<const LayerGrads> grads;
  bool need_dx;  // false: nothing below the first layer is trained, dx is not meaningful afterwards
  std::function<void(size_t layer)> before, after;
};

// dx[T,D]: gradient of the stream after the last layer in, of x out, in place.
void decoder_backward(Context& ctx, const Weights& weights, const DecoderCall& call, const DecoderBackward& pass,
                      const Tensor& dx, Arena& scratch);

}  // namespace vpref
