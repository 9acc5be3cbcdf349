// SPDX-License-Identifier: Apache-2.0
#include "model/last_layer.h"

#include <algorithm>
#include <cmath>

#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/rows.h"
#include "ops/swiglu.h"

namespace vpref {

size_t last_layer_scratch_bytes(const ModelConfig& config, int64_t rows, int64_t wanted, DType dtype) {
  const TextConfig& t = config.text;
  const auto bytes = [&](int64_t num_rows, int64_t cols) { return aligned(size_t(num_rows) * size_t(cols) * dtype_size(dtype)); };
  const int64_t d = t.hidden_size, q = int64_t(t.num_attention_heads) * t.head_dim, kv = int64_t(t.num_key_value_heads) * t.head_dim;
  return 2 * bytes(wanted, d) + std::max(bytes(rows, d) + 2 * bytes(rows, kv) + 2 * bytes(wanted, q), 2 * bytes(wanted, t.intermediate_size)) + 16 * 64;
}

void last_decoder_layer(Context& ctx, const ModelConfig& config, const DecoderLayer& layer, const DecoderCall& call, Residual& stream, const KvTarget* kv,
                        const Tensor& wanted, const Tensor& wanted_positions, const Tensor& out, Arena& scratch) {
  const TextConfig& t = config.text;
  const int64_t rows = stream.x.dim(0), num_wanted = wanted.dim(0), d = t.hidden_size, f = t.intermediate_size;
  const int64_t heads = t.num_attention_heads, kv_heads = t.num_key_value_heads, e = t.head_dim;
  const size_t mark = scratch.mark();
  const auto make = [&](int64_t num_rows, int64_t cols) { return scratch.tensor(stream.x.dtype, {num_rows, cols}); };

  const Tensor wanted_normed = make(num_wanted, d), normed2 = make(num_wanted, d);
  const size_t attention_mark = scratch.mark();
  const Tensor normed = make(rows, d), new_kv = make(rows, 2 * kv_heads * e);
  residual_norm(ctx, config, layer.input_layernorm, stream, stream.own, normed, {});
  linear_forward(ctx, LinearStack{kKProj, 2}.of(layer.linears), normed, new_kv, scratch);
  Tensor keys = new_kv.cols(0, kv_heads * e).heads(kv_heads), values = new_kv.cols(kv_heads * e, kv_heads * e).heads(kv_heads);
  if (kv) {
    keys = kv->k.heads(kv_heads);
    values = kv->v.heads(kv_heads);
    rope_to_cache(ctx, new_kv.heads(2 * kv_heads), call.positions, call.inv_freq, kv->rows, keys, values);
  } else {
    rope(ctx, keys, call.positions, call.inv_freq);
  }

  const Tensor q = make(num_wanted, heads * e).heads(heads), attended = make(num_wanted, heads * e);
  gather_rows(ctx, normed, wanted, wanted_normed);
  linear_forward(ctx, layer.linears[kQProj], wanted_normed, q.joined(), scratch);
  rope(ctx, q, wanted_positions, call.inv_freq);
  attention(ctx, q, keys, values, *call.plan, 1.0f / std::sqrt(float(e)), attended.heads(heads), nullptr);

  gather_rows(ctx, stream.x, wanted, out);
  linear_forward(ctx, layer.linears[kOProj], attended, wanted_normed, scratch);
  scratch.release(attention_mark);
  const Tensor gate_up = make(num_wanted, 2 * f), product = gate_up.cols(0, f);
  add_rms_norm(ctx, out, wanted_normed, layer.post_attention_layernorm, t.rms_norm_eps, out, normed2, nullptr);
  linear_forward(ctx, kGateUp.of(layer.linears), normed2, gate_up, scratch);
  swiglu(ctx, product, gate_up.cols(f, f), product);
  linear_forward(ctx, layer.linears[kDownProj], product, wanted_normed, scratch);
  add(ctx, wanted_normed, out);
  scratch.release(mark);
}

}  // namespace vpref
