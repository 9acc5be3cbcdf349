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

void linear_forward(Context& ctx, const Linear& l, const Tensor& x, const Tensor& y, Arena& scratch, const Tensor* saved_h) {
  linear(ctx, x, l.weight, l.bias ? &l.bias : nullptr, y);
  const size_t mark = scratch.mark();
  int64_t column = 0;
  for (const LoraPair& pair : l.adapters) {
    if (!pair.enabled) continue;
    const int64_t rank = pair.a.dim(0);
    const Tensor h = saved_h ? saved_h->cols(column, rank) : scratch.tensor(x.dtype, {x.dim(0), rank});
    linear(ctx, x, pair.a, nullptr, h);
    gemm(ctx, h, false, pair.b, true, y, pair.scale, 1.0f);
    column += rank;
  }
  scratch.release(mark);
}

void linear_backward(Context& ctx, const Linear& l, const Tensor& dy, const Tensor& x, const Tensor& saved_h, const Tensor* dx, float beta,
                     const LinearGrads& grads, Arena& scratch) {
  const int64_t num_rows = dy.dim(0);
  if (dx) linear_backward_input(ctx, dy, l.weight, *dx, beta);
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

}  // namespace vpref
