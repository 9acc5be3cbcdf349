// SPDX-License-Identifier: Apache-2.0
// How the norms split a row over a block: in groups of eight columns. Each thread keeps its first kKeptGroups groups in
// registers between the two passes.
#pragma once
#include <algorithm>

#include "backend/cuda/vector.cuh"

namespace vpref::cuda {

constexpr int kKeptGroups = 2;
// Maximum threads per block; the kernels' launch bounds keep their registers within a multiprocessor's 65536.
constexpr int kNormThreads = 1024, kNormBackwardThreads = 512;

// The first column of this thread's k-th group, and the distance to its next group.
__device__ inline int64_t row_step() { return int64_t(blockDim.x) * kGroup; }
__device__ inline int64_t row_column(int k) { return k * row_step() + int64_t(threadIdx.x) * kGroup; }

// The row of a block: token blockIdx.x of [T,D], or its head blockIdx.y of [T,H,D]. Its first element, and its place in
// the statistics [T] or [H,T].
__device__ inline int64_t row_begin(int64_t stride, int64_t d) { return blockIdx.x * stride + blockIdx.y * d; }
__device__ inline int64_t row_index() { return int64_t(blockIdx.y) * gridDim.x + blockIdx.x; }
inline dim3 grid_of_rows(const Tensor& x) { return dim3(unsigned(x.dim(0)), x.rank == 3 ? unsigned(x.dim(1)) : 1); }

// Arguments of a norm's backward. statistics: rstd, or (mean, rstd), per row.
template <class X, class W>
struct NormBackwardArgs {
  const X *dy, *x;
  const W* weight;
  const float* statistics;
  X* dx;
  int64_t d, dy_stride, x_stride, dx_stride;
  bool accumulate, wide;
};

template <class X, class W>
NormBackwardArgs<X, W> norm_backward_args(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                          const Tensor& statistics, const Tensor& dx, bool accumulate) {
  return {dy.as<X>(),
          x.as<X>(),
          weight.as<W>(),
          statistics.as<float>(),
          dx.as<X>(),
          weight.dim(0),
          dy.stride[0],
          x.stride[0],
          dx.stride[0],
          accumulate,
          all_wide_rows(dy, x, weight, dx)};
}

// This thread's groups of a row of d columns, read by load(column, group). The first kKeptGroups stay in registers; the
// others are read again in every pass. A pass calls use(column, group) for each group, in a fixed order. Group:
// float[kGroup], or a struct of such arrays.
template <class Group>
class RowGroups {
 public:
  __device__ explicit RowGroups(int64_t d) : d_(d) {}
  template <class Load, class Use>
  __device__ void first_pass(const Load& load, const Use& use) {
#pragma unroll
    for (int k = 0; k < kKeptGroups; ++k) {
      const int64_t col = row_column(k);
      if (col < d_) load(col, kept_[k]), use(col, kept_[k]);
    }
    pass_rest(load, use);
  }
  template <class Load, class Use>
  __device__ void later_pass(const Load& load, const Use& use) const {
#pragma unroll
    for (int k = 0; k < kKeptGroups; ++k) {
      const int64_t col = row_column(k);
      if (col < d_) use(col, kept_[k]);
    }
    pass_rest(load, use);
  }

 private:
  template <class Load, class Use>
  __device__ void pass_rest(const Load& load, const Use& use) const {
    for (int64_t col = row_column(kKeptGroups); col < d_; col += row_step()) {
      Group group;
      load(col, group);
      use(col, group);
    }
  }
  int64_t d_;
  Group kept_[kKeptGroups];
};

// Groups of the backward kernels.
struct GradientGroup {
  float g[kGroup], v[kGroup];
};

// Enough threads that each thread's groups fit into registers, for rows of up to 16 columns x `max_threads`.
inline unsigned threads_for_row(int64_t d, int64_t max_threads) {
  const int64_t groups = (d + kGroup - 1) / kGroup;
  return unsigned(std::clamp<int64_t>(((groups + kKeptGroups - 1) / kKeptGroups + 31) / 32 * 32, 32, max_threads));
}

// v rounded to T.
template <class T>
__device__ float rounded_to(float v) {
  T stored;
  store_f32(&stored, v);
  return load_f32(&stored);
}

}  // namespace vpref::cuda
