// SPDX-License-Identifier: Apache-2.0
// A linear layer with any number of unmerged LoRA adapters: y = x W^T + bias + sum_i scale_i (x A_i^T) B_i^T.
#pragma once
#include <span>
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

// Columns of saved_h.
int64_t saved_rank(const Linear& linear);

// The functions below take one linear, or several that read the same x and whose outputs stand side by side
// (LinearStack): y[T, N1 + N2 + ...].

// The linears as one, [N1 + N2 + ..., K] with a bias where all have one, without their adapters; its weight is empty
// where weights or biases do not follow each other in memory, as the loader puts them on a GPU, are packed, or only
// some have a bias. Empty on the CPU: one product gains nothing there, and results would depend on how a file orders
// its tensors.
Linear stacked(const Context& ctx, std::span<const Linear> linears);

// y from x[T,K]. saved_h: one per linear, [T, sum of enabled ranks] in x's dtype, which receives x A^T of every enabled
// adapter side by side, or empty; no saved_h: none is kept. Stacked weights are one product.
void linear_forward(Context& ctx, std::span<const Linear> linears, const Tensor& x, const Tensor& y, Arena& scratch,
                    std::span<const Tensor> saved_h = {});
void linear_forward(Context& ctx, const Linear& linear, const Tensor& x, const Tensor& y, Arena& scratch);

// x and saved_h as the forward had them; an empty saved_h is recomputed.
struct LinearForward {
  Tensor x;
  std::span<const Tensor> saved_h = {};
};

// dx = dy W + sum scale (dy B) A (dx may be null), and the gradients, one per linear.
void linear_backward(Context& ctx, std::span<const Linear> linears, const Tensor& dy, const LinearForward& forward,
                     const Tensor* dx, std::span<const LinearGrads> grads, Arena& scratch);
void linear_backward(Context& ctx, const Linear& linear, const Tensor& dy, const Tensor& x, const Tensor* dx,
                     const LinearGrads& grads, Arena& scratch);

}  // namespace vpref
