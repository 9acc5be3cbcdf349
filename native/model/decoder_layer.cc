// SPDX-License-Identifier: Apache-2.0
#include "model/decoder_layer.h"

#include <cmath>

#include "ops/elementwise.h"
#include "ops/rms_norm.h"
#include "ops/rows.h"
#include "ops/swiglu.h"

namespace vpref {

namespace {

float attention_scale(const ModelConfig& c) { return 1.0f / std::sqrt(float(c.text.head_dim)); }

// Queries and keys of `from`, values of qkv, by heads; qk: what rope turns.
struct Heads {
  Tensor q, k, v, qk;
  Heads(const ModelConfig& c, const LayerSizes& s, const Tensor& from, const Tensor& qkv)
      : q(from.cols(0, s.q).heads(s.heads)),
        k(from.cols(s.q, s.kv).heads(c.text.num_key_value_heads)),
        v(qkv.cols(s.q + s.kv, s.kv).heads(c.text.num_key_value_heads)),
        qk(from.cols(0, s.q + s.kv).heads(s.heads + c.text.num_key_value_heads)) {}
};

// Norms queries and keys into a.qk, or in place without it, and rotates them there.
Heads norm_and_rotate(Context& ctx, const DecoderLayer& layer, const DecoderCall& call, const LayerActivations& a,
                      bool rotate) {
  const ModelConfig& c = *call.config;
  const LayerSizes s(c);
  const Heads from(c, s, a.qkv, a.qkv), to(c, s, a.qk ? a.qk : a.qkv, a.qkv);
  if (layer.q_norm) {
    const Tensor q_rstd = a.qk_rstd ? a.qk_rstd.rows(0, s.heads) : Tensor(),
                 k_rstd = a.qk_rstd ? a.qk_rstd.rows(s.heads, from.k.dim(1)) : Tensor();
    rms_norm(ctx, from.q, layer.q_norm, c.text.rms_norm_eps, to.q, q_rstd ? &q_rstd : nullptr);
    rms_norm(ctx, from.k, layer.k_norm, c.text.rms_norm_eps, to.k, k_rstd ? &k_rstd : nullptr);
  }
  if (rotate) rope(ctx, to.qk, call.rotation);
  return to;
}

void project(Context& ctx, const LinearStack& stack, const DecoderLayer& l, const LayerActivations& a, const Tensor& x,
             const Tensor& y, Arena& scratch) {
  linear_forward(ctx, stack.of(l.linears), x, y, scratch, stack.of(a.lora_h));
}

void mlp_in(Context& ctx, const LayerSizes& s, const DecoderLayer& l, const LayerActivations& a, Arena& scratch) {
  project(ctx, kGateUp, l, a, a.normed2, a.gate_up, scratch);
  swiglu(ctx, a.gate_up.cols(0, s.f), a.gate_up.cols(s.f, s.f), a.product);
}

}  // namespace

Tensor Residual::sum(Context& ctx) const {
  if (!pending) return x;
  add(ctx, x, delta);
  return delta;
}

namespace {

// normed = the norm of the stream with all that is pending, which becomes `sum`.
void residual_norm(Context& ctx, const ModelConfig& config, const Tensor& weight, Residual& stream, const Tensor& sum,
                   const Tensor& normed, const Tensor& rstd) {
  const Tensor* scale = rstd ? &rstd : nullptr;
  if (stream.pending) {
    add_rms_norm(ctx, {stream.x, stream.delta, sum}, weight, config.text.rms_norm_eps, normed, scale);
  } else {
    if (sum.data != stream.x.data) convert(ctx, stream.x, sum);
    rms_norm(ctx, sum, weight, config.text.rms_norm_eps, normed, scale);
  }
  stream.x = sum;
  stream.pending = false;
}

// Queries, and the keys and values that the call's attention reads, rotated: in the cache where there is one.
struct Projected {
  Tensor q, k, v;
};

Projected project_all(Context& ctx, const DecoderLayer& layer, const DecoderCall& call, const KvTarget* kv,
                      const LayerActivations& a, Arena& scratch) {
  project(ctx, kQkv, layer, a, a.normed, a.qkv, scratch);
  const Heads h = norm_and_rotate(ctx, layer, call, a, /*rotate=*/!kv);
  if (!kv) return {h.q, h.k, h.v};
  const Projected to{h.q, kv->k.heads(h.k.dim(1)), kv->v.heads(h.k.dim(1))};
  rope_to_cache(ctx, a.qkv.heads(h.q.dim(1) + 2 * h.k.dim(1)), call.rotation, kv->rows, to.k, to.v);
  return to;
}

// Queries of the wanted rows alone. wanted_normed: [R,D] memory.
Projected project_wanted(Context& ctx, const DecoderLayer& layer, const DecoderCall& call, const LayerSink& sink,
                         const Tensor& normed, const Tensor& wanted_normed, Arena& scratch) {
  const ModelConfig& config = *call.config;
  const LayerSizes s(config);
  const int64_t kv_heads = config.text.num_key_value_heads;
  const Tensor own = scratch.tensor(normed.dtype, {normed.dim(0), 2 * s.kv});
  linear_forward(ctx, LinearStack{kKProj, 2}.of(layer.linears), normed, own, scratch);
  Projected to{scratch.tensor(normed.dtype, {wanted_normed.dim(0), s.q}).heads(s.heads),
               own.cols(0, s.kv).heads(kv_heads), own.cols(s.kv, s.kv).heads(kv_heads)};
  if (layer.k_norm) rms_norm(ctx, to.k, layer.k_norm, config.text.rms_norm_eps, to.k, nullptr);
  if (sink.kv) {
    to.k = sink.kv->k.heads(kv_heads);
    to.v = sink.kv->v.heads(kv_heads);
    rope_to_cache(ctx, own.heads(2 * kv_heads), call.rotation, sink.kv->rows, to.k, to.v);
  } else {
    rope(ctx, to.k, call.rotation);
  }
  gather_rows(ctx, normed, sink.wanted->rows, wanted_normed);
  linear_forward(ctx, layer.linears[kQProj], wanted_normed, to.q.joined(), scratch);
  if (layer.q_norm) rms_norm(ctx, to.q, layer.q_norm, config.text.rms_norm_eps, to.q, nullptr);
  rope(ctx, to.q, {sink.wanted->positions, call.rotation.inv_freq, call.rotation.axis});
  return to;
}

}  // namespace

void decoder_layer(Context& ctx, const DecoderLayer& layer, const DecoderCall& call, Residual& all,
                   const LayerSink& sink, Arena& scratch) {
  const ModelConfig& config = *call.config;
  const LayerSizes s(config);
  Residual& stream = sink.wanted ? *sink.narrow : all;
  const int64_t rows = stream.x.dim(0);
  const DType dtype = all.x.dtype;
  const size_t mark = scratch.mark();
  LayerActivations a = sink.saved ? *sink.saved : LayerActivations();
  ensure(a.normed2, rows, s.d, dtype, scratch);
  if (!sink.saved && !sink.wanted) a.normed = a.normed2;  // never needed at the same time
  const size_t attention_mark = scratch.mark();
  ensure(a.normed, all.x.dim(0), s.d, dtype, scratch);
  ensure(a.attention, rows, s.q, dtype, scratch);

  residual_norm(ctx, config, layer.input_layernorm, all, sink.saved ? a.residual : all.own, a.normed, a.rstd);
  if (!sink.wanted) ensure(a.qkv, rows, s.q + 2 * s.kv, dtype, scratch);
  if (sink.saved && layer.q_norm) ensure(a.qk, rows, s.q + s.kv, dtype, scratch);  // qkv is kept as it is
  const Projected p = sink.wanted ? project_wanted(ctx, layer, call, sink, a.normed, a.normed2, scratch)
                                  : project_all(ctx, layer, call, sink.kv, a, scratch);
  const AttentionPlan& plan = windowed(sink.wanted ? *sink.wanted->plan : *call.plan, layer.window);
  attention(ctx, {p.q, p.k, p.v}, plan, attention_scale(config), {a.attention.heads(s.heads), a.lse});
  if (sink.wanted) gather_rows(ctx, all.x, sink.wanted->rows, stream.x);
  project(ctx, kAttentionOut, layer, a, a.attention, stream.delta, scratch);
  stream.pending = true;
  residual_norm(ctx, config, layer.post_attention_layernorm, stream, a.residual2 ? a.residual2 : stream.own, a.normed2,
                a.rstd2);

  scratch.release(attention_mark);
  ensure(a.gate_up, rows, 2 * s.f, dtype, scratch);
  if (!sink.saved) a.product = a.gate_up.cols(0, s.f);
  ensure(a.product, rows, s.f, dtype, scratch);
  mlp_in(ctx, s, layer, a, scratch);
  project(ctx, kMlpOut, layer, a, a.product, stream.delta, scratch);
  stream.pending = true;
  scratch.release(mark);
}

void decoder_layer_backward(Context& ctx, const DecoderLayer& layer, const DecoderCall& call, const LayerBackward& pass,
                            const Tensor& dx, Arena& scratch) {
  const ModelConfig& config = *call.config;
  const LayerActivations& saved = pass.saved;
  const LayerGrads& grads = pass.grads;
  const TextConfig& t = config.text;
  const LayerSizes s(config);
  const int64_t rows = dx.dim(0);
  const DType dtype = dx.dtype;
  const size_t mark = scratch.mark();
  const AttentionPlan& plan = windowed(*call.plan, layer.window);

  // What was dropped comes back from what was kept.
  LayerActivations a = saved;
  const bool whole = !saved.qkv;
  complete_activations(config, layer, a, scratch);
  const Heads h(config, s, a.qk ? a.qk : a.qkv, a.qkv);
  if (!saved.normed) rms_norm(ctx, a.residual, layer.input_layernorm, t.rms_norm_eps, a.normed, &a.rstd);
  if (whole) {
    project(ctx, kQkv, layer, a, a.normed, a.qkv, scratch);
    norm_and_rotate(ctx, layer, call, a, /*rotate=*/true);
    attention(ctx, {h.q, h.k, h.v}, plan, attention_scale(config), {a.attention.heads(s.heads), a.lse});
    project(ctx, kAttentionOut, layer, a, a.attention, a.residual2, scratch);
    add(ctx, a.residual, a.residual2);
  }
  if (!whole && layer.q_norm && !saved.qk) norm_and_rotate(ctx, layer, call, a, /*rotate=*/true);
  if (!saved.normed2) rms_norm(ctx, a.residual2, layer.post_attention_layernorm, t.rms_norm_eps, a.normed2, &a.rstd2);
  if (whole) {
    mlp_in(ctx, s, layer, a, scratch);
  } else if (!saved.product) {
    swiglu(ctx, a.gate_up.cols(0, s.f), a.gate_up.cols(s.f, s.f), a.product);
  }

  const auto backward = [&](const LinearStack& stack, const Tensor& dy, const Tensor& x, const Tensor* into) {
    linear_backward(ctx, stack.of(layer.linears), dy, {x, stack.of(a.lora_h)}, into, stack.of(grads.linears), scratch);
  };
  const Tensor d_d = scratch.tensor(dtype, {rows, s.d});
  {  // residual + down(swiglu(gate(normed2), up(normed2)))
    const size_t inner = scratch.mark();
    const Tensor dgate_up = scratch.tensor(dtype, {rows, 2 * s.f}), dgate = dgate_up.cols(0, s.f),
                 dup = dgate_up.cols(s.f, s.f);
    backward(kMlpOut, dx, a.product, &dup);
    swiglu_backward(ctx, dup, a.gate_up.cols(0, s.f), a.gate_up.cols(s.f, s.f), dgate, dup);
    backward(kGateUp, dgate_up, a.normed2, &d_d);
    scratch.release(inner);
  }
  rms_norm_backward(ctx, d_d, {a.residual2, layer.post_attention_layernorm, a.rstd2}, dx, /*accumulate=*/true,
                    grads.post_attention_layernorm ? &grads.post_attention_layernorm : nullptr);
  {  // residual + o(attention(rope(q), rope(k), v))
    const Tensor dattention = scratch.tensor(dtype, {rows, s.q});
    backward(kAttentionOut, dx, a.attention, &dattention);
    const Tensor dqkv = scratch.tensor(dtype, {rows, s.q + 2 * s.kv});
    const Heads d(config, s, dqkv, dqkv);
    attention_backward(ctx, dattention.heads(s.heads), {h.q, h.k, h.v}, {a.attention.heads(s.heads), a.lse}, plan,
                       attention_scale(config), {d.q, d.k, d.v});
    rope(ctx, d.qk, call.rotation, /*inverse=*/true);
    if (layer.q_norm) {
      const Heads before(config, s, a.qkv, a.qkv);
      rms_norm_backward(ctx, d.q, {before.q, layer.q_norm, a.qk_rstd.rows(0, s.heads)}, d.q, /*accumulate=*/false,
                        grads.q_norm ? &grads.q_norm : nullptr);
      rms_norm_backward(ctx, d.k, {before.k, layer.k_norm, a.qk_rstd.rows(s.heads, d.k.dim(1))}, d.k,
                        /*accumulate=*/false, grads.k_norm ? &grads.k_norm : nullptr);
    }
    const bool need_normed = pass.need_dx || grads.input_layernorm;
    backward(kQkv, dqkv, a.normed, need_normed ? &d_d : nullptr);
    if (need_normed) {
      rms_norm_backward(ctx, d_d, {a.residual, layer.input_layernorm, a.rstd}, dx, /*accumulate=*/true,
                        grads.input_layernorm ? &grads.input_layernorm : nullptr);
    }
  }
  scratch.release(mark);
}

}  // namespace vpref
