// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/attention_backward.cuh"

#include "backend/cuda/attention_kernels.h"
#include "backend/cuda/launch.cuh"

namespace vpref::cuda {
namespace {

template <int D>
void launch_head_dim(Context& ctx, const BackwardArgs<bf16>& a, const BackwardLists& lists) {
  if (lists.num_key_tiles > 0)
    launch(attention_backward_keys_kernel<D>, dim3(unsigned(lists.num_key_tiles), unsigned(a.heads / a.group)),
           dim3(kBackwardThreads), kKeyTileBytes<D>, stream_of(ctx), a);
  if (lists.num_tiles > 0)
    launch(attention_backward_queries_kernel<D>, dim3(unsigned(lists.num_tiles), unsigned(a.heads / a.pack)),
           dim3(kBackwardThreads), kBackwardTileBytes<D>, stream_of(ctx), a);
}

}  // namespace

void launch_matrix_backward(Context& ctx, const BackwardArgs<bf16>& a, const BackwardLists& lists) {
  with_padded_head_dim(a.d, [&](auto head_dim) { launch_head_dim<decltype(head_dim)::value>(ctx, a, lists); });
}

}  // namespace vpref::cuda
