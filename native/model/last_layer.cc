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

void last_decoder_layer(Context& ctx, const ModelConfig& config, const DecoderLayer& layer, const DecoderCall& call, const Tensor& x, const KvTarget* kv,
                        const Tensor& wanted, const Tensor& wanted_positions, const Tensor& out, Arena& scratch) {
  const TextConfig& t = config.text;
  const int64_t rows = x.dim(0), num_wanted = wanted.dim(0), d = t.hidden_size;
  const int64_t heads = t.num_attention_heads, kv_heads = t.num_key_value_heads, e = t.head_dim;
  const size_t mark = scratch.mark();
  const auto make = [&](int64_t num_rows, int64_t cols) { return scratch.tensor(x.dtype, {num_rows, cols}); };

  const Tensor wanted_normed = make(num_wanted, d), normed2 = make(num_wanted, d);
  const size_t attention_mark = scratch.mark();
  const Tensor normed = make(rows, d), k = make(rows, kv_heads * e), v = make(rows, kv_heads * e);
  rms_norm(ctx, x, layer.input_layernorm, t.rms_norm_eps, normed, nullptr);
  linear_forward(ctx, layer.k_proj, normed, k, scratch);
  linear_forward(ctx, layer.v_proj, normed, v, scratch);
  rope(ctx, k.reshaped({rows, kv_heads, e}), call.positions, call.inv_freq);
  Tensor keys = k, values = v;
  if (kv) {
    scatter_rows(ctx, k, kv->rows, kv->k);
    scatter_rows(ctx, v, kv->rows, kv->v);
    keys = kv->k;
    values = kv->v;
  }

  const Tensor q = make(num_wanted, heads * e), attended = make(num_wanted, heads * e);
  gather_rows(ctx, normed, wanted, wanted_normed);
  linear_forward(ctx, layer.q_proj, wanted_normed, q, scratch);
  rope(ctx, q.reshaped({num_wanted, heads, e}), wanted_positions, call.inv_freq);
  attention(ctx, q.reshaped({num_wanted, heads, e}), keys.reshaped({keys.dim(0), kv_heads, e}), values.reshaped({values.dim(0), kv_heads, e}), *call.plan,
            1.0f / std::sqrt(float(e)), attended.reshaped({num_wanted, heads, e}), nullptr);

  gather_rows(ctx, x, wanted, out);
  linear_forward(ctx, layer.o_proj, attended, wanted_normed, scratch);
  scratch.release(attention_mark);
  const Tensor gate = make(num_wanted, t.intermediate_size), up = make(num_wanted, t.intermediate_size);
  add_rms_norm(ctx, out, wanted_normed, layer.post_attention_layernorm, t.rms_norm_eps, normed2, nullptr);
  linear_forward(ctx, layer.gate_proj, normed2, gate, scratch);
  linear_forward(ctx, layer.up_proj, normed2, up, scratch);
  swiglu(ctx, gate, up, gate);
  linear_forward(ctx, layer.down_proj, gate, wanted_normed, scratch);
  add(ctx, wanted_normed, out);
  scratch.release(mark);
}

}  // namespace vpref
