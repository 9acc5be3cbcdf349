// SPDX-License-Identifier: Apache-2.0
#include "model/layer_activations.h"

#include "model/linear.h"

namespace vpref {

namespace {

void ensure_heads(const ModelConfig& c, LayerActivations& a, int64_t rows, DType dtype, Arena& arena) {
  const LayerSizes s(c);
  ensure(a.qk, rows, s.q + s.kv, dtype, arena);
  if (!a.qk_rstd) a.qk_rstd = arena.tensor(DType::f32, {s.heads + c.text.num_key_value_heads, rows});
}

}  // namespace

void ensure(Tensor& t, int64_t rows, int64_t cols, DType dtype, Arena& arena) {
  if (!t) t = arena.tensor(dtype, {rows, cols});
}

LayerActivations make_activations(const ModelConfig& config, const DecoderLayer& layer, int64_t rows, DType dtype,
                                  RecomputeLevel level, Arena& arena) {
  const LayerSizes s(config);
  LayerActivations a;
  a.residual = arena.tensor(dtype, {rows, s.d});
  if (level >= 3) return a;
  a.rstd = arena.tensor(DType::f32, {rows});
  a.rstd2 = arena.tensor(DType::f32, {rows});
  a.lse = arena.tensor(DType::f32, {rows, s.heads});
  a.qkv = arena.tensor(dtype, {rows, s.q + 2 * s.kv});
  a.attention = arena.tensor(dtype, {rows, s.q});
  a.residual2 = arena.tensor(dtype, {rows, s.d});
  a.gate_up = arena.tensor(dtype, {rows, 2 * s.f});
  if (level < 1) {
    a.normed = arena.tensor(dtype, {rows, s.d});
    a.normed2 = arena.tensor(dtype, {rows, s.d});
    a.product = arena.tensor(dtype, {rows, s.f});
    if (layer.q_norm) ensure_heads(config, a, rows, dtype, arena);
  }
  if (level < 2) {
    for (size_t i = 0; i < kNumLinears; ++i) {
      if (const int64_t rank = saved_rank(layer.linears[i])) a.lora_h[i] = arena.tensor(dtype, {rows, rank});
    }
  }
  return a;
}

void complete_activations(const ModelConfig& config, const DecoderLayer& layer, LayerActivations& a, Arena& scratch) {
  const LayerSizes s(config);
  const int64_t rows = a.residual.dim(0);
  const DType dtype = a.residual.dtype;
  ensure(a.normed, rows, s.d, dtype, scratch);
  ensure(a.qkv, rows, s.q + 2 * s.kv, dtype, scratch);
  ensure(a.attention, rows, s.q, dtype, scratch);
  ensure(a.residual2, rows, s.d, dtype, scratch);
  ensure(a.normed2, rows, s.d, dtype, scratch);
  ensure(a.gate_up, rows, 2 * s.f, dtype, scratch);
  ensure(a.product, rows, s.f, dtype, scratch);
  if (layer.q_norm) ensure_heads(config, a, rows, dtype, scratch);
  if (a.rstd) return;
  a.rstd = scratch.tensor(DType::f32, {rows});
  a.rstd2 = scratch.tensor(DType::f32, {rows});
  a.lse = scratch.tensor(DType::f32, {rows, s.heads});
}

}  // namespace vpref
