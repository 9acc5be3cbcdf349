// SPDX-License-Identifier: Apache-2.0
// Elementwise kernels over [rows, d] in groups of eight columns, and sums of columns.
#pragma once
#include <algorithm>

#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/vector.cuh"

namespace vpref::cuda {

constexpr int64_t kMaxGridY = 65535;
constexpr int kGroupThreads = 256;

// body(row, column, count): `count` columns (1 to 8) from `column`, a multiple of 8.
template <class Body>
__global__ void __launch_bounds__(kGroupThreads) groups_kernel(Body body, int64_t rows, int64_t d) {
  grid_dependency_synchronize();
  const int64_t col = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * kGroup;
  if (col >= d) return;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) body(row, col, d - col);
}

template <class Body>
void for_groups(Context& ctx, int64_t rows, int64_t d, const Body& body) {
  const int64_t groups = (d + kGroup - 1) / kGroup;
  const int64_t threads = std::min<int64_t>(kGroupThreads, (groups + 31) / 32 * 32);
  const dim3 grid(unsigned((groups + threads - 1) / threads), unsigned(std::min(rows, kMaxGridY)));
  launch_dependent(groups_kernel<Body>, grid, unsigned(threads), 0, stream_of(ctx), body, rows, d);
}

// The shape for for_groups: [T,D] tensors without gaps are one long row.
struct Extent {
  int64_t rows, d;
};
template <class... Tensors>
Extent extent_of(const Tensor& x, const Tensors&... others) {
  const auto flat = [](const Tensor& t) { return t.rank == 1 || t.dim(0) == 1 || t.stride[0] == t.dim(1); };
  if (x.rank == 1 || (flat(x) && (flat(others) && ...))) return {1, x.numel()};
  return {x.dim(0), x.dim(1)};
}
// Row stride, also for rank 1.
inline int64_t row_stride(const Tensor& t) { return t.rank == 1 ? 0 : t.stride[0]; }

// y = f(x) and y = f(a, b), element by element in f32; y may be an operand.
template <class X, class Y, class F>
struct Unary {
  const X* x;
  Y* y;
  int64_t x_stride, y_stride;
  bool wide;
  F f;
  __device__ void operator()(int64_t row, int64_t col, int64_t count) const {
    float v[kGroup];
    load_group(x + row * x_stride + col, count, wide, v);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] = f(v[i]);
    store_group(y + row * y_stride + col, count, wide, v);
  }
};
template <class T, class F>
struct Binary {
  const T *a, *b;
  T* y;
  int64_t a_stride, b_stride, y_stride;
  bool wide;
  F f;
  __device__ void operator()(int64_t row, int64_t col, int64_t count) const {
    float u[kGroup], v[kGroup];
    load_group(a + row * a_stride + col, count, wide, u);
    load_group(b + row * b_stride + col, count, wide, v);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] = f(u[i], v[i]);
    store_group(y + row * y_stride + col, count, wide, v);
  }
};

// The same over whole tensors of one shape, for their element types.
template <class X, class Y, class F>
void map(Context& ctx, const Tensor& x, const Tensor& y, const F& f) {
  const Extent e = extent_of(x, y);
  for_groups(ctx, e.rows, e.d,
             Unary<X, Y, F>{x.as<X>(), y.as<Y>(), row_stride(x), row_stride(y), all_wide_rows(x, y), f});
}
template <class T, class F>
void map(Context& ctx, const Tensor& a, const Tensor& b, const Tensor& y, const F& f) {
  const Extent e = extent_of(a, b, y);
  for_groups(ctx, e.rows, e.d,
             Binary<T, F>{a.as<T>(), b.as<T>(), y.as<T>(), row_stride(a), row_stride(b), row_stride(y),
                          all_wide_rows(a, b, y), f});
}

// sums[c] += alpha * sum over rows of value(row, c): 32 columns per block, eight threads per column, joined in a fixed
// order.
constexpr int kSumColumns = 32, kSumRows = 8;
template <class Value>
__global__ void __launch_bounds__(kSumColumns* kSumRows)
    column_sums_kernel(Value value, float* sums, float alpha, int64_t rows, int64_t d) {
  __shared__ float part[kSumRows][kSumColumns];
  const int64_t c = int64_t(blockIdx.x) * kSumColumns + threadIdx.x;
  float sum = 0;
  if (c < d)
    for (int64_t row = threadIdx.y; row < rows; row += kSumRows) sum += value(row, c);
  part[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || c >= d) return;
  for (int i = 1; i < kSumRows; ++i) sum += part[i][threadIdx.x];
  sums[c] += alpha * sum;
}

template <class Value>
void column_sums(Context& ctx, int64_t rows, int64_t d, float* sums, float alpha, const Value& value) {
  launch(column_sums_kernel<Value>, unsigned((d + kSumColumns - 1) / kSumColumns), dim3(kSumColumns, kSumRows), 0,
         stream_of(ctx), value, sums, alpha, rows, d);
}

}  // namespace vpref::cuda
