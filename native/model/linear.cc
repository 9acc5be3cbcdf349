// SPDX-License-Identifier: Apache-2.0
#include "model/linear.h"

#include "ops/gemm.h"

namespace vpref {

bool LinearGrads::any() const {
  for (const Lora& l : adapters) {
    if (l.a) return true;
  }
  return bool(weight) || bool(bias);
}

int64_t saved_rank(const Linear& l) {
  int64_t rank = 0;
  for (const LoraPair& pair : l.adapters) rank += pair.enabled ? pair.a.dim(0) : 0;
  return rank;
}

namespace {

// y += scale (x A^T) B^T of every adapter that is on.
void add_adapters(Context& ctx, const Linear& l, const Tensor& x, const Tensor& y, Arena& scratch, const Tensor& saved_h) {
  const size_t mark = scratch.mark();
  int64_t column = 0;
  for (const LoraPair& pair : l.adapters) {
    if (!pair.enabled) continue;
    const int64_t rank = pair.a.dim(0);
    const Tensor h = saved_h ? saved_h.cols(column, rank) : scratch.tensor(x.dtype, {x.dim(0), rank});
    linear(ctx, x, pair.a, nullptr, h);
    gemm(ctx, h, false, pair.b, true, y, pair.scale, 1.0f);
    column += rank;
  }
  scratch.release(mark);
}

// All but dx's part of the base weight.
void backward_parameters(Context& ctx, const Linear& l, const Tensor& dy, const Tensor& x, const Tensor& saved_h, const Tensor* dx, const LinearGrads& grads,
                         Arena& scratch) {
  const int64_t num_rows = dy.dim(0);
  if (grads.weight) linear_backward_weight(ctx, dy, x, grads.weight, grads.bias ? &grads.bias : nullptr);
  const size_t mark = scratch.mark();
  int64_t column = 0;
  for (size_t i = 0; i < l.adapters.size(); ++i) {
    const LoraPair& pair = l.adapters[i];
    if (!pair.enabled) continue;
    const int64_t rank = pair.a.dim(0);
    const bool trained = i < grads.adapters.size() && grads.adapters[i].a;
    if (dx || trained) {
      const Tensor dh = scratch.tensor(dy.dtype, {num_rows, rank});
      gemm(ctx, dy, false, pair.b, false, dh, pair.scale);
      if (dx) gemm(ctx, dh, false, pair.a, false, *dx, 1.0f, 1.0f);
      if (trained) {
        linear_backward_weight(ctx, dh, x, grads.adapters[i].a, nullptr);
        Tensor h = saved_h ? saved_h.cols(column, rank) : Tensor();
        if (!h) {
          h = scratch.tensor(x.dtype, {num_rows, rank});
          linear(ctx, x, pair.a, nullptr, h);
        }
        linear_backward_weight(ctx, dy, h, grads.adapters[i].b, nullptr, pair.scale);
      }
    }
    scratch.release(mark);
    column += rank;
  }
}

}  // namespace

Tensor stacked_weight(const Context& ctx, std::initializer_list<LinearPart> parts) {
  if (ctx.device == Device::cpu) return {};
  Tensor all = parts.begin()->linear.weight;
  all.shape[0] = 0;
  for (const LinearPart& p : parts) {
    const Tensor& w = p.linear.weight;
    if (p.linear.bias || w.dtype != all.dtype || !w.dense() || w.dim(1) != all.dim(1) || w.data != all.rows(all.dim(0), 0).data) return {};
    all.shape[0] += w.dim(0);
  }
  return all;
}

void linear_forward(Context& ctx, const Linear& l, const Tensor& x, const Tensor& y, Arena& scratch, const Tensor* saved_h) {
  linear(ctx, x, l.weight, l.bias ? &l.bias : nullptr, y);
  add_adapters(ctx, l, x, y, scratch, saved_h ? *saved_h : Tensor());
}

void linear_forward(Context& ctx, std::initializer_list<LinearPart> parts, const Tensor& x, const Tensor& y, Arena& scratch) {
  const Tensor stacked = stacked_weight(ctx, parts);
  if (stacked) linear(ctx, x, stacked, nullptr, y);
  int64_t column = 0;
  for (const auto& [l, saved_h, grads] : parts) {
    const Tensor part = y.cols(column, l.weight.dim(0));
    if (!stacked) linear(ctx, x, l.weight, l.bias ? &l.bias : nullptr, part);
    add_adapters(ctx, l, x, part, scratch, saved_h);
    column += part.dim(1);
  }
}

void linear_backward(Context& ctx, const Linear& l, const Tensor& dy, const Tensor& x, const Tensor& saved_h, const Tensor* dx, float beta,
                     const LinearGrads& grads, Arena& scratch) {
  linear_backward(ctx, {{l, saved_h, &grads}}, dy, x, dx, beta, scratch);
}

void linear_backward(Context& ctx, std::initializer_list<LinearPart> parts, const Tensor& dy, const Tensor& x, const Tensor* dx, float beta, Arena& scratch) {
  const Tensor stacked = stacked_weight(ctx, parts);
  if (dx && stacked) linear_backward_input(ctx, dy, stacked, *dx, beta);
  int64_t column = 0;
  for (const auto& [l, saved_h, grads] : parts) {
    const Tensor part = dy.cols(column, l.weight.dim(0));
    if (dx && !stacked) linear_backward_input(ctx, part, l.weight, *dx, column == 0 ? beta : 1);
    backward_parameters(ctx, l, part, x, saved_h, dx, *grads, scratch);
    column += part.dim(1);
  }
}

}  // namespace vpref
