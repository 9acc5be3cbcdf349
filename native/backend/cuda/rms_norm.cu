// SPDX-License-Identifier: Apache-2.0
// One block per row (or head of a row). Each thread keeps its first groups of the row in registers; only rows beyond
// kRowKept columns are read twice.
#include "ops/rms_norm.h"

#include "backend/cuda/groups.cuh"
#include "backend/cuda/row.cuh"

namespace vpref::cuda {
namespace {

// --- kernels
// ----------------------------------------------------------------------

template <class X, class W>
struct NormArgs {
  const X *x, *delta;  // null without an addition
  const W* weight;
  X *sum, *y;
  float* rstd;  // or null
  int64_t d, x_stride, delta_stride, sum_stride, y_stride;
  float eps;
  bool wide;
};

// y = x * rstd * weight; with `delta`, of sum = x + delta as stored, because the next layer reads the stored sum.
template <class X, class W>
__global__ void __launch_bounds__(kNormThreads) rms_norm_kernel(const NormArgs<X, W> a) {
  __shared__ float shared[32];
  grid_dependency_synchronize();
  const int64_t d = a.d;
  const bool wide = a.wide;
  const X *row = a.x + row_begin(a.x_stride, d), *addend = a.delta ? a.delta + row_begin(a.delta_stride, d) : nullptr;
  X *total = a.sum + row_begin(a.sum_stride, d), *out = a.y + row_begin(a.y_stride, d);
  const auto load = [&](int64_t col, float (&v)[kGroup]) {
    load_group(row + col, d - col, wide, v);
    if (!addend) return;
    float added[kGroup];
    load_group(addend + col, d - col, wide, added);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] = rounded_to<X>(v[i] + added[i]);
    store_group(total + col, d - col, wide, v);
  };
  RowGroups<float[kGroup]> groups(d);
  float squares = 0;
  groups.first_pass(load, [&](int64_t, const float (&v)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) squares += v[i] * v[i];
  });
  const float scale = rsqrtf(block_sum(squares, shared) / float(d) + a.eps);
  if (a.rstd && threadIdx.x == 0) a.rstd[row_index()] = scale;
  const auto load_again = [&](int64_t col, float (&v)[kGroup]) {
    load_group(addend ? total + col : row + col, d - col, wide, v);
  };
  groups.later_pass(load_again, [&](int64_t col, const float (&v)[kGroup]) {
    float w[kGroup];
    load_group(a.weight + col, d - col, wide, w);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) w[i] *= v[i] * scale;
    store_group(out + col, d - col, wide, w);
  });
}

// dx = rstd * (weight dy - x rstd^2 mean(weight dy x)).
template <class X, class W>
__global__ void __launch_bounds__(kNormBackwardThreads, 1) rms_norm_backward_kernel(const NormBackwardArgs<X, W> a) {
  __shared__ float shared[32];
  const int64_t d = a.d;
  const bool wide = a.wide;
  const X *gradient = a.dy + row_begin(a.dy_stride, d), *row = a.x + row_begin(a.x_stride, d);
  X* out = a.dx + row_begin(a.dx_stride, d);
  const float r = a.statistics[row_index()];
  // g: weight dy; v: x.
  const auto load = [&](int64_t col, GradientGroup& x) {
    float w[kGroup];
    load_group(gradient + col, d - col, wide, x.g);
    load_group(row + col, d - col, wide, x.v);
    load_group(a.weight + col, d - col, wide, w);
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
    if (a.accumulate) load_group(out + col, d - col, wide, o);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) o[i] += r * (x.g[i] - x.v[i] * factor);
    store_group(out + col, d - col, wide, o);
  });
}

template <class X>
struct WeightGradient {
  const X *dy, *x;
  const float* rstd;  // [H,T]
  int64_t dy_stride, x_stride, tokens, d;
  __device__ float operator()(int64_t row, int64_t c) const {
    const int64_t head = row / tokens, token = row - head * tokens, col = head * d + c;
    return load_f32(dy + token * dy_stride + col) * load_f32(x + token * x_stride + col) * rstd[row];
  }
};

// --- launchers
// ----------------------------------------------------------------------

// delta and sum are empty without an addition.
void norm_rows(const char* op, Context& ctx, const ResidualAdd& residual, const Tensor& weight, float eps,
               const Tensor& y, const Tensor* rstd) {
  const Tensor &x = residual.x, &delta = residual.delta, &sum = residual.sum;
  check(y.dtype == x.dtype && (!delta || delta.dtype == x.dtype), "dtype", "[", op,
        "] device cuda: expected every row operand as ", dtype_name(x.dtype));
  with_activation_type(op, x.dtype, [&](auto* xt) {
    with_float_type(op, weight.dtype, [&](auto* wt) {
      using X = std::remove_pointer_t<decltype(xt)>;
      using W = std::remove_pointer_t<decltype(wt)>;
      const bool wide = all_wide_rows(x, weight, y) && (!delta || all_wide_rows(delta, sum));
      const NormArgs<X, W> args{
          x.as<X>(),     delta.as<X>(), weight.as<W>(),  sum.as<X>(),   y.as<X>(),   rstd ? rstd->as<float>() : nullptr,
          weight.dim(0), x.stride[0],   delta.stride[0], sum.stride[0], y.stride[0], eps,
          wide};
      launch_dependent(rms_norm_kernel<X, W>, grid_of_rows(x), threads_for_row(weight.dim(0), kNormThreads), 0,
                       stream_of(ctx), args);
    });
  });
}

}  // namespace

void rms_norm(Context& ctx, const Tensor& x, const Tensor& weight, float eps, const Tensor& y, const Tensor* rstd) {
  norm_rows("rms_norm", ctx, {x, {}, {}}, weight, eps, y, rstd);
}

void add_rms_norm(Context& ctx, const ResidualAdd& residual, const Tensor& weight, float eps, const Tensor& y,
                  const Tensor* rstd) {
  norm_rows("add_rms_norm", ctx, residual, weight, eps, y, rstd);
}

void rms_norm_backward(Context& ctx, const Tensor& dy, const RmsNormForward& forward, const Tensor& dx, bool accumulate,
                       const Tensor* dweight) {
  const Tensor &x = forward.x, &weight = forward.weight, &rstd = forward.rstd;
  const dim3 grid = grid_of_rows(x);
  const int64_t tokens = x.dim(0), d = weight.dim(0);
  check(dy.dtype == x.dtype && dx.dtype == x.dtype, "dtype",
        "[rms_norm_backward] device cuda: expected every row operand as ", dtype_name(x.dtype));
  with_activation_type("rms_norm_backward", x.dtype, [&](auto* xt) {
    using X = std::remove_pointer_t<decltype(xt)>;
    // Before dx, which may be the memory of dy or x.
    if (dweight)
      column_sums(ctx, tokens * grid.y, d, dweight->as<float>(), 1.0f,
                  WeightGradient<X>{dy.as<X>(), x.as<X>(), rstd.as<float>(), dy.stride[0], x.stride[0], tokens, d});
    with_float_type("rms_norm_backward", weight.dtype, [&](auto* wt) {
      using W = std::remove_pointer_t<decltype(wt)>;
      launch(rms_norm_backward_kernel<X, W>, grid, threads_for_row(d, kNormBackwardThreads), 0, stream_of(ctx),
             norm_backward_args<X, W>(dy, x, weight, rstd, dx, accumulate));
    });
  });
}

}  // namespace vpref::cuda
