// SPDX-License-Identifier: Apache-2.0
// A linear layer with any number of unmerged LoRA adapters: y = x W^T + bias + sum_i scale_i (x A_i^T) B_i^T.
#pragma once
#include <span>
#include <vector>

#include "core/arena.h"
#include "model/model.h"

namespace vpref {

// Gradients of a linear layer; an empty tensor is a frozen parameter. All f32, summed into.
struct LinearGrads {
  Tensor weight;  // [N,K]
  Tensor bias;    // [N]
  struct Lora {
    Tensor a;  // [r,K]
    Tensor b;  // [N,r]
  };
  std::vector<Lora> adapters;  // in the order of Linear::adapters, or empty: all frozen
  bool any() const;
};

// Columns of saved_h.
int64_t saved_rank(const Linear& linear);

// The functions below take one linear, or a LinearStack: linears that read the same x and whose outputs are adjacent,
// y[T, N1 + N2 + ...].

// The linears as one, [N1 + N2 + ..., K], without adapters, with a bias if all have one. The weight is empty if weights
// or biases are not adjacent in memory (the loader makes them adjacent on a GPU), are packed, or only some have a bias.
// Always empty on the CPU, where linear_stack takes them as they are.
Linear stacked(const Context& ctx, std::span<const Linear> linears);

// Computes y from x[T,K]. saved_h: empty, or one per linear, [T, sum of enabled ranks] in x's dtype, which receives x
// A^T of every enabled adapter side by side, or is empty. Stacked weights are one product.
void linear_forward(Context& ctx, std::span<const Linear> linears, const Tensor& x, const Tensor& y, Arena& scratch,
                    std::span<const Tensor> saved_h = {});
void linear_forward(Context& ctx, const Linear& linear, const Tensor& x, const Tensor& y, Arena& scratch);

// x and saved_h as in the forward; an empty saved_h is recomputed.
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
