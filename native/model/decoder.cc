// SPDX-License-Identifier: Apache-2.0
#include "model/decoder.h"

#include "core/memory.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

namespace vpref {

namespace {

// The pending addition is done first, so the sum is rounded twice, as in the reference models.
void add_rows(Context& ctx, std::span<const AddedRows> added, size_t layer, Residual& stream) {
  for (const AddedRows& a : added) {
    if (a.layer != layer) continue;
    stream.x = stream.sum(ctx);
    stream.pending = false;
    add(ctx, a.rows, stream.x.rows(a.row, a.rows.dim(0)));
  }
}

}  // namespace

RopeTables::RopeTables(Context& ctx, const TextConfig& text) {
  const int64_t n = int64_t(text.inv_freq.size());
  const size_t frequencies = aligned(size_t(n) * sizeof(float));
  buffer_ = Buffer(ctx.device, 2 * frequencies);
  inv_freq_ = Tensor(buffer_.data(), DType::f32, {n});
  copy_to_device(ctx, inv_freq_.data, text.inv_freq.data(), inv_freq_.bytes());
  if (text.rope_axis.empty()) return;
  axis_ = Tensor(static_cast<char*>(buffer_.data()) + frequencies, DType::i32, {n});
  copy_to_device(ctx, axis_.data, text.rope_axis.data(), axis_.bytes());
}

void embed(Context& ctx, const Weights& weights, const Tensor& token_ids, const Tensor& image_index,
           const Tensor& image_features, const Tensor& x) {
  gather_rows(ctx, weights.embed_tokens, token_ids, x);
  if (image_features) gather_rows(ctx, image_features, image_index, x);
}

void decoder_forward(Context& ctx, const Weights& weights, const DecoderCall& call, const Tensor& x, const Tensor& out,
                     const DecoderSink& sink, Arena& arena) {
  const size_t num_layers = weights.layers.size(), begin = arena.mark();
  // If all rows are wanted, `out` is the delta buffer, which holds the sum at the end. Otherwise the stream of the
  // wanted rows is in the delta buffer of the full stream, which is free in the last layer.
  const bool narrows = sink.wanted != nullptr;
  Residual stream(x, out && !narrows ? out : arena.tensor(x.dtype, {x.dim(0), x.dim(1)}));
  Residual narrow(narrows ? stream.delta.rows(0, out.dim(0)) : Tensor(), out);
  for (size_t l = 0; l < num_layers; ++l) {
    if (sink.before) sink.before(l);
    const KvTarget kv = sink.kv ? sink.kv(l) : KvTarget{};
    LayerSink into{.kv = sink.kv ? &kv : nullptr};
    if (narrows && l + 1 == num_layers) {
      into.wanted = sink.wanted;
      into.narrow = &narrow;
    }
    if (sink.activations) {
      sink.activations->push_back(
          make_activations(*call.config, weights.layers[l], x.dim(0), x.dtype, sink.level, arena));
      into.saved = &sink.activations->back();
    }
    decoder_layer(ctx, weights.layers[l], call, stream, into, arena);
    add_rows(ctx, sink.added, l, into.wanted ? narrow : stream);
  }
  if (out) (narrows ? narrow : stream).sum(ctx);
  if (!sink.activations) arena.release(begin);
}

void decoder_backward(Context& ctx, const Weights& weights, const DecoderCall& call, const DecoderBackward& pass,
                      const Tensor& dx, Arena& scratch) {
  for (size_t l = weights.layers.size(); l-- > 0;) {
    if (pass.before) pass.before(l);
    decoder_layer_backward(ctx, weights.layers[l], call, {pass.saved[l], pass.grads[l], l > 0 || pass.need_dx}, dx,
                           scratch);
    if (pass.after) pass.after(l);
  }
}

}  // namespace vpref
