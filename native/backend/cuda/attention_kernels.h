// SPDX-License-Identifier: Apache-2.0
// The launches of attention() and attention_backward(), one source file per kind of kernel, so that they compile in
// parallel.
#pragma once
#include <type_traits>

#include "backend/cuda/attention_lists.h"
#include "backend/cuda/attention_tile.cuh"
#include "core/context.h"

namespace vpref::cuda {

constexpr int64_t kMatrixHeadDim =
    128;  // maximum head size of the tensor-core kernels; rows are padded to 32, 64, 96 or 128
constexpr int64_t kPlainHeadDim = 256;

// Calls body(std::integral_constant<int, D>()) for the padded size D of rows of d elements.
template <class Body>
void with_padded_head_dim(int d, const Body& body) {
  if (d <= 32) return body(std::integral_constant<int, 32>());
  if (d <= 64) return body(std::integral_constant<int, 64>());
  if (d <= 96) return body(std::integral_constant<int, 96>());
  body(std::integral_constant<int, int(kMatrixHeadDim)>());
}

// Computes results and partial results of all tiles in `lists`; `a` has everything except the query tiles.
void launch_matrix_forward(Context& ctx, const ForwardArgs<bf16>& a, const ForwardLists& lists);
template <class T>
void launch_plain_forward(Context& ctx, ForwardArgs<T> a, const ForwardLists& lists);

// Computes dq, dk, dv; `a` is complete, `lists` gives the numbers of tiles.
void launch_matrix_backward(Context& ctx, const BackwardArgs<bf16>& a, const BackwardLists& lists);
template <class T>
void launch_plain_backward(Context& ctx, const BackwardArgs<T>& a, const BackwardLists& lists);

}  // namespace vpref::cuda
