// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/attention_forward.cuh"

#include "backend/cuda/attention_kernels.h"
#include "backend/cuda/launch.cuh"

namespace vpref::cuda {
namespace {

template <class Shape>
void launch_tiles(Context& ctx, ForwardArgs<bf16> a, const QueryTile* tiles, int num_tiles) {
  if (num_tiles == 0) return;
  a.tiles = tiles;
  launch_dependent(attention_forward_kernel<Shape>, dim3(unsigned(num_tiles), unsigned(a.heads / a.pack)),
                   dim3(Shape::kThreads), Shape::kSharedBytes, stream_of(ctx), a);
}

template <int D>
void launch_head_dim(Context& ctx, const ForwardArgs<bf16>& a, const ForwardLists& lists) {
  launch_tiles<ForwardShape<D, 4, 1, 2, 2>>(ctx, a, lists.wide, lists.num_wide);
  launch_tiles<ForwardShape<D, 4, 1, 1, 3>>(ctx, a, lists.tiles, lists.num_tiles);
  launch_tiles<ForwardShape<D, 1, 4, 1, 4>>(ctx, a, lists.decode, lists.num_decode);
}

}  // namespace

void launch_matrix_forward(Context& ctx, const ForwardArgs<bf16>& a, const ForwardLists& lists) {
  with_padded_head_dim(a.d, [&](auto head_dim) { launch_head_dim<decltype(head_dim)::value>(ctx, a, lists); });
}

}  // namespace vpref::cuda
