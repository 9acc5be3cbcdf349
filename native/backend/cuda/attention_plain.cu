// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/attention_plain.cuh"

#include "backend/cuda/attention_kernels.h"
#include "backend/cuda/launch.cuh"

namespace vpref::cuda {

template <class T>
void launch_plain_forward(Context& ctx, ForwardArgs<T> a, const ForwardLists& lists) {
  // All tiles have at most kPlainRows packed rows, so the lists are otherwise equal.
  const QueryTile* tiles[] = {lists.wide, lists.tiles, lists.decode};
  const int counts[] = {lists.num_wide, lists.num_tiles, lists.num_decode};
  for (int i = 0; i < 3; ++i) {
    if (counts[i] == 0) continue;
    a.tiles = tiles[i];
    launch(attention_plain_forward_kernel<T>, dim3(unsigned(counts[i]), unsigned(a.heads / a.pack)),
           dim3(kPlainThreads), plain_forward_bytes(a.d), stream_of(ctx), a);
  }
}

template <class T>
void launch_plain_backward(Context& ctx, const BackwardArgs<T>& a, const BackwardLists& lists) {
  if (lists.num_key_tiles > 0)
    launch(attention_plain_backward_keys_kernel<T>,
           dim3(unsigned(lists.num_key_tiles), unsigned(a.heads / a.group), kKeyTileRows / kPlainRows),
           dim3(kPlainThreads), plain_backward_bytes(a.d), stream_of(ctx), a);
  if (lists.num_tiles > 0)
    launch(attention_plain_backward_queries_kernel<T>, dim3(unsigned(lists.num_tiles), unsigned(a.heads / a.pack)),
           dim3(kPlainThreads), plain_backward_bytes(a.d), stream_of(ctx), a);
}

template void launch_plain_forward<float>(Context&, ForwardArgs<float>, const ForwardLists&);
template void launch_plain_forward<bf16>(Context&, ForwardArgs<bf16>, const ForwardLists&);
template void launch_plain_backward<float>(Context&, const BackwardArgs<float>&, const BackwardLists&);
template void launch_plain_backward<bf16>(Context&, const BackwardArgs<bf16>&, const BackwardLists&);

}  // namespace vpref::cuda
