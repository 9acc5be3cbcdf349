// SPDX-License-Identifier: Apache-2.0
// A linear layer with any number of unmerged LoRA adapters: y = x W^T + bias + sum_i scale_i (x A_i^T) B_i^T.
#pragma once
#include <initializer_list>
#include <vector>

#include "core/arena.h"
#include "model/model.h"

namespace vpref {

// Where the gradients of a linear layer go; an empty tensor is a frozen parameter. All f32, summed into.
struct LinearGrads {
  Tensor weight;  // [N,K]
  Tensor bias;    // [N]
  struct Lora {
    Tensor a;  // [r,K]
    Tensor b;  // [N,r]
  };
  std::vector<Lora> adapters;  // as Linear::adapters, or empty: all frozen
  bool any() const;
};

// y[T,N] from x[T,K]. saved_h: [T, sum of enabled ranks] in x's dtype receives x A^T of every enabled adapter side by side, or null.
void linear_forward(Context& ctx, const Linear& linear, const Tensor& x, const Tensor& y, Arena& scratch, const Tensor* saved_h = nullptr);

// Columns of saved_h.
int64_t saved_rank(const Linear& linear);

// One of several linears that read the same x and whose outputs stand side by side: q, k and v; gate and up.
struct LinearPart {
  const Linear& linear;
  const Tensor& saved_h;               // as linear_forward's, empty when not kept
  const LinearGrads* grads = nullptr;  // backward
};

// The weights of the parts as one [N1 + N2 + ..., K], or an empty tensor where they do not follow each other in memory, as the loader puts them on a GPU,
// or have biases. Empty on the CPU: one product gains nothing there, and results would depend on how a file orders its tensors.
Tensor stacked_weight(const Context& ctx, std::initializer_list<LinearPart> parts);

// y[T, N1 + N2 + ...] from x[T,K]. Stacked weights are one product.
void linear_forward(Context& ctx, std::initializer_list<LinearPart> parts, const Tensor& x, const Tensor& y, Arena& scratch);

// dx = beta * dx + dy W + sum scale (dy B) A (dx may be null), and the gradients. x and saved_h as the forward had them; an empty saved_h is recomputed.
void linear_backward(Context& ctx, const Linear& linear, const Tensor& dy, const Tensor& x, const Tensor& saved_h, const Tensor* dx, float beta,
                     const LinearGrads& grads, Arena& scratch);
void linear_backward(Context& ctx, std::initializer_list<LinearPart> parts, const Tensor& dy, const Tensor& x, const Tensor* dx, float beta, Arena& scratch);

}  // namespace vpref
