// SPDX-License-Identifier: Apache-2.0
// Rows with an index outside the table are skipped, because the host does not read the index.
#include "ops/rows.h"

#include "backend/cuda/groups.cuh"

namespace vpref::cuda {
namespace {

enum class Indexed { source, target };

// y[row] = x[index[row]] or y[index[row]] = x[row].
template <Indexed side, class X, class Y>
struct Move {
  const X* x;
  const int32_t* index;
  Y* y;
  int64_t indexed_rows, x_stride, y_stride;
  bool wide;
  __device__ void operator()(int64_t row, int64_t col, int64_t count) const {
    const int64_t other = index[row];
    if (other < 0 || other >= indexed_rows) return;
    const int64_t from = side == Indexed::source ? other : row, to = side == Indexed::source ? row : other;
    float v[kGroup];
    load_group(x + from * x_stride + col, count, wide, v);
    store_group(y + to * y_stride + col, count, wide, v);
  }
};

constexpr int kThreads = 256, kWarps = kThreads / 32;

// One block per source row. The block of an index's first row adds all rows with that index, in order; the other blocks
// return.
template <class X, class Y>
__global__ void __launch_bounds__(kThreads)
    scatter_add_kernel(const Move<Indexed::target, X, Y> move, int64_t rows, int64_t d) {
  const X* x = move.x;
  const int32_t* index = move.index;
  const int64_t x_stride = move.x_stride;
  const bool wide = move.wide;
  __shared__ unsigned found[kWarps];
  const int64_t own = blockIdx.x;
  const int32_t to = index[own];
  if (to < 0 || to >= move.indexed_rows) return;
  bool earlier = false;
  for (int64_t j = threadIdx.x; j < own; j += kThreads) earlier |= index[j] == to;
  if (__syncthreads_or(earlier)) return;
  Y* sum = move.y + to * move.y_stride;
  for (int64_t base = own; base < rows; base += kThreads) {
    const int64_t j = base + threadIdx.x;
    const unsigned same = __ballot_sync(0xffffffffu, j < rows && index[j] == to);
    if (threadIdx.x % 32 == 0) found[threadIdx.x / 32] = same;
    __syncthreads();
    for (int w = 0; w < kWarps; ++w)
      for (unsigned bits = found[w]; bits != 0; bits &= bits - 1) {
        const X* row = x + (base + w * 32 + __ffs(int(bits)) - 1) * x_stride;
        for (int64_t col = int64_t(threadIdx.x) * kGroup; col < d; col += kThreads * kGroup) {
          float a[kGroup], b[kGroup];
          load_group(row + col, d - col, wide, a);
          load_group(sum + col, d - col, wide, b);
#pragma unroll
          for (int i = 0; i < kGroup; ++i) b[i] += a[i];
          store_group(sum + col, d - col, wide, b);
        }
      }
    __syncthreads();
  }
}

template <class X, class Y>
Move<Indexed::target, X, Y> move_to(const Tensor& x, const Tensor& index, const Tensor& y) {
  return {x.as<X>(), index.as<int32_t>(), y.as<Y>(), y.dim(0), x.stride[0], y.stride[0], all_wide_rows(x, y)};
}

}  // namespace

void gather_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y) {
  with_float_type("gather_rows", x.dtype, [&](auto* xt) {
    with_activation_type("gather_rows", y.dtype, [&](auto* yt) {
      using X = std::remove_pointer_t<decltype(xt)>;
      using Y = std::remove_pointer_t<decltype(yt)>;
      for_groups(ctx, y.dim(0), y.dim(1),
                 Move<Indexed::source, X, Y>{x.as<X>(), index.as<int32_t>(), y.as<Y>(), x.dim(0), x.stride[0],
                                             y.stride[0], all_wide_rows(x, y)});
    });
  });
}

void scatter_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y) {
  with_activation_type("scatter_rows", x.dtype, [&](auto* xt) {
    with_activation_type("scatter_rows", y.dtype, [&](auto* yt) {
      using X = std::remove_pointer_t<decltype(xt)>;
      using Y = std::remove_pointer_t<decltype(yt)>;
      for_groups(ctx, x.dim(0), x.dim(1), move_to<X, Y>(x, index, y));
    });
  });
}

void scatter_add_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y) {
  with_activation_type("scatter_add_rows", x.dtype, [&](auto* xt) {
    with_activation_type("scatter_add_rows", y.dtype, [&](auto* yt) {
      using X = std::remove_pointer_t<decltype(xt)>;
      using Y = std::remove_pointer_t<decltype(yt)>;
      launch(scatter_add_kernel<X, Y>, unsigned(x.dim(0)), kThreads, 0, stream_of(ctx), move_to<X, Y>(x, index, y),
             x.dim(0), x.dim(1));
    });
  });
}

}  // namespace vpref::cuda
