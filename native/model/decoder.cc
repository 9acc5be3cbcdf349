// SPDX-License-Identifier: Apache-2.0
#include "model/decoder.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/gemm.h"
#include "ops/log_softmax.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/rows.h"
#include "ops/swiglu.h"

namespace vpref {

namespace {

struct Sizes {
  int64_t d, q, kv, f, heads;
  explicit Sizes(const ModelConfig& c)
      : d(c.text.hidden_size),
        q(int64_t(c.text.num_attention_heads) * c.text.head_dim),
        kv(int64_t(c.text.num_key_value_heads) * c.text.head_dim),
        f(c.text.intermediate_size),
        heads(c.text.num_attention_heads) {}
};

size_t bytes_of(int64_t rows, int64_t cols, DType dtype) { return aligned(size_t(rows) * size_t(cols) * dtype_size(dtype)); }

int64_t total_rank(const DecoderLayer& l) {
  int64_t rank = 0;
  for (const Linear* p : {&l.q_proj, &l.k_proj, &l.v_proj, &l.o_proj, &l.gate_proj, &l.up_proj, &l.down_proj}) rank += saved_rank(*p);
  return rank;
}

int64_t largest_rank(const DecoderLayer& l) {
  int64_t rank = 0;
  for (const Linear* p : {&l.q_proj, &l.k_proj, &l.v_proj, &l.o_proj, &l.gate_proj, &l.up_proj, &l.down_proj}) {
    rank = std::max(rank, saved_rank(*p));
  }
  return rank;
}

Tensor heads_view(const Tensor& x, int64_t num_heads, int64_t head_dim) {
  Tensor t = x;
  t.rank = 3;
  t.shape = {x.shape[0], num_heads, head_dim, 0};
  t.stride = {x.stride[0], head_dim, 1, 0};
  return t;
}

float attention_scale(const ModelConfig& c) { return 1.0f / std::sqrt(float(c.text.head_dim)); }

// One place for what both the forward and a recomputing backward do before attention: norm, q, k, v, rope.
void project_qkv(Context& ctx, const ModelConfig& config, const DecoderLayer& layer, const DecoderCall& call, const LayerActivations& a,
                 Arena& scratch) {
  const auto h = [](const Tensor& t) { return t ? &t : nullptr; };
  linear_forward(ctx, layer.q_proj, a.normed, a.q, scratch, h(a.h_q));
  linear_forward(ctx, layer.k_proj, a.normed, a.k, scratch, h(a.h_k));
  linear_forward(ctx, layer.v_proj, a.normed, a.v, scratch, h(a.h_v));
  const TextConfig& t = config.text;
  rope(ctx, heads_view(a.q, t.num_attention_heads, t.head_dim), call.positions, call.inv_freq);
  rope(ctx, heads_view(a.k, t.num_key_value_heads, t.head_dim), call.positions, call.inv_freq);
}

void mlp_in(Context& ctx, const DecoderLayer& layer, const LayerActivations& a, Arena& scratch) {
  linear_forward(ctx, layer.gate_proj, a.normed2, a.gate, scratch, a.h_gate ? &a.h_gate : nullptr);
  linear_forward(ctx, layer.up_proj, a.normed2, a.up, scratch, a.h_up ? &a.h_up : nullptr);
  swiglu(ctx, a.gate, a.up, a.product);
}

// Give every tensor that `a` lacks a place in scratch.
void need(Tensor& t, int64_t rows, int64_t cols, DType dtype, Arena& scratch) {
  if (!t) t = scratch.tensor(dtype, {rows, cols});
}

void complete_attention(const Sizes& s, LayerActivations& a, int64_t rows, DType dtype, Arena& scratch) {
  need(a.q, rows, s.q, dtype, scratch);
  need(a.k, rows, s.kv, dtype, scratch);
  need(a.v, rows, s.kv, dtype, scratch);
  need(a.attention, rows, s.q, dtype, scratch);
}

void complete_mlp(const Sizes& s, LayerActivations& a, int64_t rows, DType dtype, Arena& scratch) {
  need(a.gate, rows, s.f, dtype, scratch);
  need(a.up, rows, s.f, dtype, scratch);
  need(a.product, rows, s.f, dtype, scratch);
}

void complete(const Sizes& s, LayerActivations& a, int64_t rows, DType dtype, Arena& scratch) {
  need(a.normed, rows, s.d, dtype, scratch);
  complete_attention(s, a, rows, dtype, scratch);
  need(a.residual2, rows, s.d, dtype, scratch);
  need(a.normed2, rows, s.d, dtype, scratch);
  complete_mlp(s, a, rows, dtype, scratch);
}

}  // namespace

size_t activation_bytes(const ModelConfig& config, const DecoderLayer& layer, int64_t rows, DType dtype, RecomputeLevel level) {
  const Sizes s(config);
  size_t total = bytes_of(rows, s.d, dtype);
  if (level >= 3) return total;
  total += 2 * bytes_of(rows, 1, DType::f32) + bytes_of(rows, s.heads, DType::f32);
  total += 2 * bytes_of(rows, s.q, dtype) + 2 * bytes_of(rows, s.kv, dtype) + bytes_of(rows, s.d, dtype) + 2 * bytes_of(rows, s.f, dtype);
  if (level < 1) total += 2 * bytes_of(rows, s.d, dtype) + bytes_of(rows, s.f, dtype);
  if (level < 2) total += bytes_of(rows, total_rank(layer), dtype) + 7 * 64;
  return total;
}

LayerActivations make_activations(const ModelConfig& config, const DecoderLayer& layer, int64_t rows, DType dtype, RecomputeLevel level, Arena& arena) {
  const Sizes s(config);
  LayerActivations a;
  a.residual = arena.tensor(dtype, {rows, s.d});
  if (level >= 3) return a;
  a.rstd = arena.tensor(DType::f32, {rows});
  a.rstd2 = arena.tensor(DType::f32, {rows});
  a.lse = arena.tensor(DType::f32, {rows, s.heads});
  a.q = arena.tensor(dtype, {rows, s.q});
  a.k = arena.tensor(dtype, {rows, s.kv});
  a.v = arena.tensor(dtype, {rows, s.kv});
  a.attention = arena.tensor(dtype, {rows, s.q});
  a.residual2 = arena.tensor(dtype, {rows, s.d});
  a.gate = arena.tensor(dtype, {rows, s.f});
  a.up = arena.tensor(dtype, {rows, s.f});
  if (level < 1) {
    a.normed = arena.tensor(dtype, {rows, s.d});
    a.normed2 = arena.tensor(dtype, {rows, s.d});
    a.product = arena.tensor(dtype, {rows, s.f});
  }
  if (level < 2) {
    const auto h = [&](const Linear& l) {
      const int64_t rank = saved_rank(l);
      return rank ? arena.tensor(dtype, {rows, rank}) : Tensor();
    };
    a.h_q = h(layer.q_proj);
    a.h_k = h(layer.k_proj);
    a.h_v = h(layer.v_proj);
    a.h_o = h(layer.o_proj);
    a.h_gate = h(layer.gate_proj);
    a.h_up = h(layer.up_proj);
    a.h_down = h(layer.down_proj);
  }
  return a;
}

size_t decoder_scratch_bytes(const ModelConfig& config, const Weights& weights, int64_t rows, DType dtype, bool backward) {
  const Sizes s(config);
  int64_t rank = 0;
  for (const DecoderLayer& l : weights.layers) rank = std::max(rank, largest_rank(l));
  if (!backward) {  // attention's tensors and the MLP's take turns in one place
    const size_t attention = 2 * bytes_of(rows, s.q, dtype) + 2 * bytes_of(rows, s.kv, dtype) + bytes_of(rows, s.d, dtype);
    return bytes_of(rows, s.d, dtype) + std::max(attention, 2 * bytes_of(rows, s.f, dtype)) + 2 * bytes_of(rows, rank, dtype) + 64 * 64;
  }
  // Everything a layer makes, plus one x A^T at a time.
  size_t total = 4 * bytes_of(rows, s.d, dtype) + 2 * bytes_of(rows, s.q, dtype) + 2 * bytes_of(rows, s.kv, dtype) + 3 * bytes_of(rows, s.f, dtype) +
                 2 * bytes_of(rows, rank, dtype) + 2 * bytes_of(rows, 1, DType::f32) + bytes_of(rows, s.heads, DType::f32);
  total += 2 * bytes_of(rows, s.d, dtype) + 2 * bytes_of(rows, s.q, dtype) + 2 * bytes_of(rows, s.kv, dtype) + 2 * bytes_of(rows, s.f, dtype);
  return total + 64 * 64;
}

void decoder_layer(Context& ctx, const ModelConfig& config, const DecoderLayer& layer, const DecoderCall& call, const Tensor& x, const KvTarget* kv,
                   LayerActivations* saved, Arena& scratch) {
  const TextConfig& t = config.text;
  const Sizes s(config);
  const int64_t rows = x.dim(0);
  const size_t mark = scratch.mark();
  LayerActivations a = saved ? *saved : LayerActivations();
  const bool own_rows = !kv || !kv->rows;
  if (kv && own_rows && !a.k) {
    a.k = kv->k.rows(0, rows);
    a.v = kv->v.rows(0, rows);
  }
  if (saved) convert(ctx, x, saved->residual);
  need(a.normed, rows, s.d, x.dtype, scratch);
  if (!saved) a.normed2 = a.normed;  // never needed at the same time
  need(a.normed2, rows, s.d, x.dtype, scratch);
  const size_t attention_mark = scratch.mark();
  complete_attention(s, a, rows, x.dtype, scratch);

  rms_norm(ctx, x, layer.input_layernorm, t.rms_norm_eps, a.normed, a.rstd ? &a.rstd : nullptr);
  project_qkv(ctx, config, layer, call, a, scratch);
  if (!own_rows) {
    scatter_rows(ctx, a.k, kv->rows, kv->k);
    scatter_rows(ctx, a.v, kv->rows, kv->v);
  }
  const Tensor& keys = own_rows ? a.k : kv->k;
  const Tensor& values = own_rows ? a.v : kv->v;
  attention(ctx, heads_view(a.q, t.num_attention_heads, t.head_dim), heads_view(keys, t.num_key_value_heads, t.head_dim),
            heads_view(values, t.num_key_value_heads, t.head_dim), *call.plan, attention_scale(config),
            heads_view(a.attention, t.num_attention_heads, t.head_dim), a.lse ? &a.lse : nullptr);

  const Tensor out = scratch.tensor(x.dtype, {rows, s.d});
  linear_forward(ctx, layer.o_proj, a.attention, out, scratch, a.h_o ? &a.h_o : nullptr);
  add_rms_norm(ctx, x, out, layer.post_attention_layernorm, t.rms_norm_eps, a.normed2, a.rstd2 ? &a.rstd2 : nullptr);
  if (saved && saved->residual2) convert(ctx, x, saved->residual2);

  scratch.release(attention_mark);
  if (!saved) a.gate = a.product = scratch.tensor(x.dtype, {rows, s.f});
  complete_mlp(s, a, rows, x.dtype, scratch);
  mlp_in(ctx, layer, a, scratch);
  const Tensor mlp_out = saved ? scratch.tensor(x.dtype, {rows, s.d}) : a.normed2;
  linear_forward(ctx, layer.down_proj, a.product, mlp_out, scratch, a.h_down ? &a.h_down : nullptr);
  add(ctx, mlp_out, x);
  scratch.release(mark);
}

void decoder_layer_backward(Context& ctx, const ModelConfig& config, const DecoderLayer& layer, const DecoderCall& call, const LayerActivations& saved,
                            const LayerGrads& grads, const Tensor& dx, bool need_dx, Arena& scratch) {
  const TextConfig& t = config.text;
  const Sizes s(config);
  const int64_t rows = dx.dim(0);
  const DType dtype = dx.dtype;
  const size_t mark = scratch.mark();
  const auto query_heads = [&](const Tensor& y) { return heads_view(y, t.num_attention_heads, t.head_dim); };
  const auto kv_heads = [&](const Tensor& y) { return heads_view(y, t.num_key_value_heads, t.head_dim); };

  // What was dropped comes back from what was kept.
  LayerActivations a = saved;
  const bool whole = !saved.q;
  complete(s, a, rows, dtype, scratch);
  if (whole) {
    a.rstd = scratch.tensor(DType::f32, {rows});
    a.rstd2 = scratch.tensor(DType::f32, {rows});
    a.lse = scratch.tensor(DType::f32, {rows, s.heads});
  }
  if (!saved.normed) rms_norm(ctx, a.residual, layer.input_layernorm, t.rms_norm_eps, a.normed, &a.rstd);
  if (whole) {
    project_qkv(ctx, config, layer, call, a, scratch);
    attention(ctx, query_heads(a.q), kv_heads(a.k), kv_heads(a.v), *call.plan, attention_scale(config), query_heads(a.attention), &a.lse);
    linear_forward(ctx, layer.o_proj, a.attention, a.residual2, scratch);
    add(ctx, a.residual, a.residual2);
  }
  if (!saved.normed2) rms_norm(ctx, a.residual2, layer.post_attention_layernorm, t.rms_norm_eps, a.normed2, &a.rstd2);
  if (whole) {
    mlp_in(ctx, layer, a, scratch);
  } else if (!saved.product) {
    swiglu(ctx, a.gate, a.up, a.product);
  }

  const Tensor d_d = scratch.tensor(dtype, {rows, s.d});
  {  // residual + down(swiglu(gate(normed2), up(normed2)))
    const size_t inner = scratch.mark();
    const Tensor dgate = scratch.tensor(dtype, {rows, s.f});
    const Tensor dup = scratch.tensor(dtype, {rows, s.f});
    linear_backward(ctx, layer.down_proj, dx, a.product, a.h_down, &dup, 0, grads.down_proj, scratch);
    swiglu_backward(ctx, dup, a.gate, a.up, dgate, dup);
    linear_backward(ctx, layer.gate_proj, dgate, a.normed2, a.h_gate, &d_d, 0, grads.gate_proj, scratch);
    linear_backward(ctx, layer.up_proj, dup, a.normed2, a.h_up, &d_d, 1, grads.up_proj, scratch);
    scratch.release(inner);
  }
  rms_norm_backward(ctx, d_d, a.residual2, layer.post_attention_layernorm, a.rstd2, dx, /*accumulate=*/true,
                    grads.post_attention_layernorm ? &grads.post_attention_layernorm : nullptr);
  {  // residual + o(attention(rope(q), rope(k), v))
    const Tensor dattention = scratch.tensor(dtype, {rows, s.q});
    linear_backward(ctx, layer.o_proj, dx, a.attention, a.h_o, &dattention, 0, grads.o_proj, scratch);
    const Tensor dq = scratch.tensor(dtype, {rows, s.q});
    const Tensor dk = scratch.tensor(dtype, {rows, s.kv});
    const Tensor dv = scratch.tensor(dtype, {rows, s.kv});
    attention_backward(ctx, query_heads(dattention), query_heads(a.q), kv_heads(a.k), kv_heads(a.v), query_heads(a.attention), a.lse, *call.plan,
                       attention_scale(config), query_heads(dq), kv_heads(dk), kv_heads(dv));
    rope(ctx, query_heads(dq), call.positions, call.inv_freq, /*inverse=*/true);
    rope(ctx, kv_heads(dk), call.positions, call.inv_freq, /*inverse=*/true);
    const bool need_normed = need_dx || grads.input_layernorm;
    const Tensor* d_normed = need_normed ? &d_d : nullptr;
    linear_backward(ctx, layer.q_proj, dq, a.normed, a.h_q, d_normed, 0, grads.q_proj, scratch);
    linear_backward(ctx, layer.k_proj, dk, a.normed, a.h_k, d_normed, 1, grads.k_proj, scratch);
    linear_backward(ctx, layer.v_proj, dv, a.normed, a.h_v, d_normed, 1, grads.v_proj, scratch);
    if (need_normed) {
      rms_norm_backward(ctx, d_d, a.residual, layer.input_layernorm, a.rstd, dx, /*accumulate=*/true,
                        grads.input_layernorm ? &grads.input_layernorm : nullptr);
    }
  }
  scratch.release(mark);
}

void embed(Context& ctx, const Weights& weights, const Tensor& token_ids, const Tensor& image_index, const Tensor& image_features, const Tensor& x) {
  gather_rows(ctx, weights.embed_tokens, token_ids, x);
  if (image_features) gather_rows(ctx, image_features, image_index, x);
}

size_t head_activation_bytes(const ModelConfig& config, int64_t num_targets, DType dtype) {
  return 3 * bytes_of(num_targets, config.text.hidden_size, dtype) + bytes_of(num_targets, 1, DType::f32);
}

HeadActivations make_head_activations(const ModelConfig& config, int64_t num_targets, DType dtype, Arena& arena) {
  const int64_t d = config.text.hidden_size;
  return {.residual = arena.tensor(dtype, {num_targets, d}),
          .rstd = arena.tensor(DType::f32, {num_targets}),
          .normed = arena.tensor(dtype, {num_targets, d}),
          .dnormed = arena.tensor(dtype, {num_targets, d})};
}

size_t head_scratch_bytes(const ModelConfig& config, int64_t num_targets, int64_t chunk_rows, DType dtype) {
  const int64_t rows = std::min(chunk_rows, num_targets);
  return 2 * bytes_of(num_targets, config.text.hidden_size, dtype) + bytes_of(rows, config.text.vocab_size, DType::f32) +
         bytes_of(rows, config.text.vocab_size, dtype) + bytes_of(num_targets, 1, DType::f32) + 8 * 64;
}

void head_logps(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& x, const Tensor& target_rows, const Tensor& targets,
                int64_t chunk_rows, const Tensor& logps, const HeadActivations* saved, Arena& scratch) {
  const int64_t num_targets = targets.dim(0), d = config.text.hidden_size, v = config.text.vocab_size;
  const size_t mark = scratch.mark();
  const Tensor residual = saved ? saved->residual : scratch.tensor(x.dtype, {num_targets, d});
  const Tensor normed = saved ? saved->normed : scratch.tensor(x.dtype, {num_targets, d});
  gather_rows(ctx, x, target_rows, residual);
  rms_norm(ctx, residual, weights.norm, config.text.rms_norm_eps, normed, saved ? &saved->rstd : nullptr);
  // Logits in f32 whatever the compute dtype: log-probabilities are differences of large numbers.
  const Tensor logits = scratch.tensor(DType::f32, {std::min(chunk_rows, num_targets), v});
  const Tensor dlogits = saved && x.dtype != DType::f32 ? scratch.tensor(x.dtype, {logits.dim(0), v}) : logits;
  for (int64_t begin = 0; begin < num_targets; begin += chunk_rows) {
    const int64_t rows = std::min(chunk_rows, num_targets - begin);
    const Tensor chunk = logits.rows(0, rows);
    linear_forward(ctx, weights.lm_head, normed.rows(begin, rows), chunk, scratch);
    log_softmax_gather(ctx, chunk, targets.rows(begin, rows), logps.rows(begin, rows), /*to_gradient=*/saved != nullptr);
    if (!saved) continue;
    if (x.dtype != DType::f32) convert(ctx, chunk, dlogits.rows(0, rows));
    linear_backward_input(ctx, dlogits.rows(0, rows), weights.lm_head.weight, saved->dnormed.rows(begin, rows));
  }
  scratch.release(mark);
}

void head_logps_backward(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& target_rows, const Tensor& targets,
                         const Tensor& row_weight, int64_t chunk_rows, const HeadActivations& saved, const Tensor& dx, const Tensor& norm_grad,
                         const Tensor& lm_head_grad, Arena& scratch) {
  const int64_t num_targets = targets.dim(0), d = config.text.hidden_size, v = config.text.vocab_size;
  const size_t mark = scratch.mark();
  if (lm_head_grad) {
    const Tensor logits = scratch.tensor(DType::f32, {std::min(chunk_rows, num_targets), v});
    const Tensor dlogits = dx.dtype != DType::f32 ? scratch.tensor(dx.dtype, {logits.dim(0), v}) : logits;
    const Tensor logps = scratch.tensor(DType::f32, {num_targets});
    for (int64_t begin = 0; begin < num_targets; begin += chunk_rows) {
      const int64_t rows = std::min(chunk_rows, num_targets - begin);
      const Tensor chunk = logits.rows(0, rows);
      linear_forward(ctx, weights.lm_head, saved.normed.rows(begin, rows), chunk, scratch);
      log_softmax_gather(ctx, chunk, targets.rows(begin, rows), logps.rows(begin, rows), /*to_gradient=*/true);
      scale_rows(ctx, row_weight.rows(begin, rows), chunk);
      if (dx.dtype != DType::f32) convert(ctx, chunk, dlogits.rows(0, rows));
      linear_backward_weight(ctx, dlogits.rows(0, rows), saved.normed.rows(begin, rows), lm_head_grad, nullptr);
    }
  }
  scale_rows(ctx, row_weight, saved.dnormed);
  const Tensor dresidual = scratch.tensor(dx.dtype, {num_targets, d});
  rms_norm_backward(ctx, saved.dnormed, saved.residual, weights.norm, saved.rstd, dresidual, /*accumulate=*/false, norm_grad ? &norm_grad : nullptr);
  scatter_add_rows(ctx, dresidual, target_rows, dx);
  scratch.release(mark);
}

}  // namespace vpref
