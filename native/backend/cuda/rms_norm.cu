// SPDX-License-Identifier: Apache-2.0
// One block a row. A thread keeps its first groups of the row in registers; only rows beyond kRowKept columns are read
// twice.
#include "ops/rms_norm.h"

#include "backend/cuda/groups.cuh"
#include "backend/cuda/row.cuh"

namespace vpref::cuda {
namespace {

// --- kernels
// ----------------------------------------------------------------------

// y = x * rstd * weight; with `delta` of sum = x + delta, as stored, which is what the next layer reads.
template <class X, class W>
__global__ void __launch_bounds__(kNormThreads)
    rms_norm_kernel(const X* x, const X* delta, const W* weight, float eps, X* sum, X* y, float* rstd, int64_t d,
                    int64_t x_stride, int64_t delta_stride, int64_t sum_stride, int64_t y_stride, bool wide) {
  __shared__ float shared[32];
  wait_for_launch_before();
  const X *row = x + blockIdx.x * x_stride, *addend = delta ? delta + blockIdx.x * delta_stride : nullptr;
  X *total = sum + blockIdx.x * sum_stride, *out = y + blockIdx.x * y_stride;
  const auto load = [&](int64_t col, float (&v)[kGroup]) {
    load_group(row + col, d - col, wide, v);
    if (!addend) return;
    float a[kGroup];
    load_group(addend + col, d - col, wide, a);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] = rounded_to<X>(v[i] + a[i]);
    store_group(total + col, d - col, wide, v);
  };
  RowGroups<float[kGroup]> groups(d);
  float squares = 0;
  groups.first_pass(load, [&](int64_t, const float (&v)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) squares += v[i] * v[i];
  });
  const float scale = rsqrtf(block_sum(squares, shared) / float(d) + eps);
  if (rstd && threadIdx.x == 0) rstd[blockIdx.x] = scale;
  const auto load_again = [&](int64_t col, float (&v)[kGroup]) {
    load_group(addend ? total + col : row + col, d - col, wide, v);
  };
  groups.later_pass(load_again, [&](int64_t col, const float (&v)[kGroup]) {
    float w[kGroup];
    load_group(weight + col, d - col, wide, w);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) w[i] *= v[i] * scale;
    store_group(out + col, d - col, wide, w);
  });
}

// dx = rstd * (weight dy - x rstd^2 mean(weight dy x)).
template <class X, class W>
__global__ void __launch_bounds__(kNormBackwardThreads, 1)
    rms_norm_backward_kernel(const X* dy, const X* x, const W* weight, const float* rstd, X* dx, bool accumulate,
                             int64_t d, int64_t dy_stride, int64_t x_stride, int64_t dx_stride, bool wide) {
  __shared__ float shared[32];
  const X *gradient = dy + blockIdx.x * dy_stride, *row = x + blockIdx.x * x_stride;
  X* out = dx + blockIdx.x * dx_stride;
  const float r = rstd[blockIdx.x];
  // g: weight dy; v: x.
  const auto load = [&](int64_t col, GradientGroup& x) {
    float w[kGroup];
    load_group(gradient + col, d - col, wide, x.g);
    load_group(row + col, d - col, wide, x.v);
    load_group(weight + col, d - col, wide, w);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) x.g[i] *= w[i];
  };
  RowGroups<GradientGroup> groups(d);
  float dot = 0;
  groups.first_pass(load, [&](int64_t, const GradientGroup& x) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) dot += x.g[i] * x.v[i];
  });
  const float factor = block_sum(dot, shared) * r * r / float(d);
  groups.later_pass(load, [&](int64_t col, const GradientGroup& x) {
    float o[kGroup] = {};
    if (accumulate) load_group(out + col, d - col, wide, o);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) o[i] += r * (x.g[i] - x.v[i] * factor);
    store_group(out + col, d - col, wide, o);
  });
}

template <class X>
struct WeightGradient {
  const X *dy, *x;
  const float* rstd;
  int64_t dy_stride, x_stride;
  __device__ float operator()(int64_t row, int64_t c) const {
    return load_f32(dy + row * dy_stride + c) * load_f32(x + row * x_stride + c) * rstd[row];
  }
};

// --- launchers
// ----------------------------------------------------------------------

// sum: of x and delta; both null without them.
void norm_rows(const char* op, Context& ctx, const Tensor& x, const Tensor* delta, const Tensor& weight, float eps,
               const Tensor* sum, const Tensor& y, const Tensor* rstd) {
  check(y.dtype == x.dtype && (!delta || delta->dtype == x.dtype), "dtype", "[", op,
        "] device cuda: expected every row operand as ", dtype_name(x.dtype));
  with_activation_type(op, x.dtype, [&](auto* xt) {
    with_float_type(op, weight.dtype, [&](auto* wt) {
      using X = std::remove_pointer_t<decltype(xt)>;
      using W = std::remove_pointer_t<decltype(wt)>;
      const bool wide = all_wide_rows(x, weight, y) && (!delta || all_wide_rows(*delta, *sum));
      launch_early(rms_norm_kernel<X, W>, unsigned(x.dim(0)), threads_for_row(x.dim(1), kNormThreads), 0,
                   stream_of(ctx), x.as<X>(), delta ? delta->as<X>() : nullptr, weight.as<W>(), eps,
                   sum ? sum->as<X>() : nullptr, y.as<X>(), rstd ? rstd->as<float>() : nullptr, x.dim(1), x.stride[0],
                   delta ? delta->stride[0] : 0, sum ? sum->stride[0] : 0, y.stride[0], wide);
    });
  });
}

}  // namespace

void rms_norm(Context& ctx, const Tensor& x, const Tensor& weight, float eps, const Tensor& y, const Tensor* rstd) {
  norm_rows("rms_norm", ctx, x, nullptr, weight, eps, nullptr, y, rstd);
}

void add_rms_norm(Context& ctx, const Tensor& x, const Tensor& delta, const Tensor& weight, float eps,
                  const Tensor& sum, const Tensor& y, const Tensor* rstd) {
  norm_rows("add_rms_norm", ctx, x, &delta, weight, eps, &sum, y, rstd);
}

void rms_norm_backward(Context& ctx, const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& rstd,
                       const Tensor& dx, bool accumulate, const Tensor* dweight) {
  const int64_t rows = x.dim(0), d = x.dim(1);
  check(dy.dtype == x.dtype && dx.dtype == x.dtype, "dtype",
        "[rms_norm_backward] device cuda: expected every row operand as ", dtype_name(x.dtype));
  with_activation_type("rms_norm_backward", x.dtype, [&](auto* xt) {
    using X = std::remove_pointer_t<decltype(xt)>;
    // Before dx: it may be dy's or x's own memory.
    if (dweight)
      column_sums(ctx, rows, d, dweight->as<float>(), 1.0f,
                  WeightGradient<X>{dy.as<X>(), x.as<X>(), rstd.as<float>(), dy.stride[0], x.stride[0]});
    with_float_type("rms_norm_backward", weight.dtype, [&](auto* wt) {
      using W = std::remove_pointer_t<decltype(wt)>;
      launch(rms_norm_backward_kernel<X, W>, unsigned(rows), threads_for_row(d, kNormBackwardThreads), 0,
             stream_of(ctx), dy.as<X>(), x.as<X>(), weight.as<W>(), rstd.as<float>(), dx.as<X>(), accumulate, d,
             dy.stride[0], x.stride[0], dx.stride[0], all_wide_rows(dy, x, weight, dx));
    });
  });
}

}  // namespace vpref::cuda
