// SPDX-License-Identifier: Apache-2.0
// The launches behind attention() and attention_backward(), one file a kind of kernel so that they compile side by side.
#pragma once
#include "backend/cuda/attention_lists.h"
#include "backend/cuda/attention_tile.cuh"
#include "core/context.h"

namespace vpref::cuda {

constexpr int64_t kMatrixHeadDim = 128;  // the tensor-core kernels take at most this; rows are padded to 32, 64, 96 or 128
constexpr int64_t kPlainHeadDim = 256;

// Results and partial results of all tiles in `lists`; `a` has everything but the lists.
void launch_matrix_forward(Context& ctx, ForwardArgs<bf16> a, const ForwardLists& lists);
template <class T>
void launch_plain_forward(Context& ctx, ForwardArgs<T> a, const ForwardLists& lists);

// dq, dk, dv; a.stats is there already.
void launch_matrix_backward(Context& ctx, BackwardArgs<bf16> a, const BackwardLists& lists);
template <class T>
void launch_plain_backward(Context& ctx, BackwardArgs<T> a, const BackwardLists& lists);

}  // namespace vpref::cuda
