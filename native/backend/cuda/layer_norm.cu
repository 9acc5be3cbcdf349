// SPDX-License-Identifier: Apache-2.0
// One block per row, as in rms_norm. The variance is computed from centred values, so that rows with a large mean keep
// precision.
#include "ops/layer_norm.h"

#include "backend/cuda/groups.cuh"
#include "backend/cuda/row.cuh"

namespace vpref::cuda {
namespace {

// --- kernels
// ----------------------------------------------------------------------

template <class X, class W, class B>
struct NormArgs {
  const X* x;
  const W* weight;
  const B* bias;
  X* y;
  float* mean_rstd;  // or null
  int64_t d, x_stride, y_stride;
  float eps;
  bool wide;
};

template <class X, class W, class B>
__global__ void __launch_bounds__(kNormThreads) layer_norm_kernel(const NormArgs<X, W, B> a) {
  __shared__ float shared[32];
  const int64_t d = a.d;
  const bool wide = a.wide;
  const X* row = a.x + blockIdx.x * a.x_stride;
  X* out = a.y + blockIdx.x * a.y_stride;
  const auto load = [&](int64_t col, float (&v)[kGroup]) { load_group(row + col, d - col, wide, v); };
  RowGroups<float[kGroup]> groups(d);
  float sum = 0, squares = 0;
  groups.first_pass(load, [&](int64_t, const float (&v)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) sum += v[i];
  });
  const float mean = block_sum(sum, shared) / float(d);
  groups.later_pass(load, [&](int64_t col, const float (&v)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i)
      if (col + i < d) squares += (v[i] - mean) * (v[i] - mean);
  });
  const float r = rsqrtf(block_sum(squares, shared) / float(d) + a.eps);
  if (a.mean_rstd && threadIdx.x == 0) {
    a.mean_rstd[2 * blockIdx.x] = mean;
    a.mean_rstd[2 * blockIdx.x + 1] = r;
  }
  groups.later_pass(load, [&](int64_t col, const float (&v)[kGroup]) {
    float w[kGroup], b[kGroup];
    load_group(a.weight + col, d - col, wide, w);
    load_group(a.bias + col, d - col, wide, b);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) b[i] += (v[i] - mean) * r * w[i];
    store_group(out + col, d - col, wide, b);
  });
}

// With xhat = (x - mean) rstd: dx = rstd (dy w - mean(dy w) - xhat mean(dy w xhat)).
template <class X, class W>
__global__ void __launch_bounds__(kNormBackwardThreads, 1) layer_norm_backward_kernel(const NormBackwardArgs<X, W> a) {
  __shared__ float shared[32];
  const int64_t d = a.d;
  const bool wide = a.wide;
  const X *gradient = a.dy + blockIdx.x * a.dy_stride, *row = a.x + blockIdx.x * a.x_stride;
  X* out = a.dx + blockIdx.x * a.dx_stride;
  const float mean = a.statistics[2 * blockIdx.x], r = a.statistics[2 * blockIdx.x + 1];
  // g: dy w; v: xhat.
  const auto load = [&](int64_t col, GradientGroup& x) {
    float w[kGroup];
    load_group(gradient + col, d - col, wide, x.g);
    load_group(row + col, d - col, wide, x.v);
    load_group(a.weight + col, d - col, wide, w);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) x.g[i] *= w[i], x.v[i] = (x.v[i] - mean) * r;
  };
  RowGroups<GradientGroup> groups(d);
  float sum = 0, dot = 0;
  groups.first_pass(load, [&](int64_t, const GradientGroup& x) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) sum += x.g[i], dot += x.g[i] * x.v[i];
  });
  const float c0 = block_sum(sum, shared) / float(d), c1 = block_sum(dot, shared) / float(d);
  groups.later_pass(load, [&](int64_t col, const GradientGroup& x) {
    float o[kGroup] = {};
    if (a.accumulate) load_group(out + col, d - col, wide, o);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) o[i] += r * (x.g[i] - c0 - x.v[i] * c1);
    store_group(out + col, d - col, wide, o);
  });
}

template <class X>
struct WeightGradient {
  const X *dy, *x;
  const float* mean_rstd;
  int64_t dy_stride, x_stride;
  __device__ float operator()(int64_t row, int64_t c) const {
    return load_f32(dy + row * dy_stride + c) * (load_f32(x + row * x_stride + c) - mean_rstd[2 * row]) *
           mean_rstd[2 * row + 1];
  }
};

template <class X>
struct BiasGradient {
  const X* dy;
  int64_t dy_stride;
  __device__ float operator()(int64_t row, int64_t c) const { return load_f32(dy + row * dy_stride + c); }
};

}  // namespace

// --- launchers
// ----------------------------------------------------------------------

void layer_norm(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias, float eps, const Tensor& y,
                const Tensor* mean_rstd) {
  check(y.dtype == x.dtype, "dtype", "[layer_norm] device cuda: expected y as ", dtype_name(x.dtype), ", got ", y);
  with_activation_type("layer_norm", x.dtype, [&](auto* xt) {
    with_float_type("layer_norm", weight.dtype, [&](auto* wt) {
      with_float_type("layer_norm", bias.dtype, [&](auto* bt) {
        using X = std::remove_pointer_t<decltype(xt)>;
        using W = std::remove_pointer_t<decltype(wt)>;
        using B = std::remove_pointer_t<decltype(bt)>;
        const NormArgs<X, W, B> args{
            x.as<X>(), weight.as<W>(), bias.as<B>(), y.as<X>(), mean_rstd ? mean_rstd->as<float>() : nullptr,
            x.dim(1),  x.stride[0],    y.stride[0],  eps,       all_wide_rows(x, weight, bias, y)};
        launch(layer_norm_kernel<X, W, B>, unsigned(x.dim(0)), threads_for_row(x.dim(1), kNormThreads), 0,
               stream_of(ctx), args);
      });
    });
  });
}

void layer_norm_backward(Context& ctx, const Tensor& dy, const LayerNormForward& forward, const Tensor& dx,
                         bool accumulate, const Tensor* dweight, const Tensor* dbias) {
  const Tensor &x = forward.x, &weight = forward.weight, &mean_rstd = forward.mean_rstd;
  const int64_t rows = x.dim(0), d = x.dim(1);
  check(dy.dtype == x.dtype && dx.dtype == x.dtype, "dtype",
        "[layer_norm_backward] device cuda: expected every row operand as ", dtype_name(x.dtype));
  with_activation_type("layer_norm_backward", x.dtype, [&](auto* xt) {
    using X = std::remove_pointer_t<decltype(xt)>;
    if (dweight) {  // before dx, which may be the memory of dy or x
      column_sums(ctx, rows, d, dweight->as<float>(), 1.0f,
                  WeightGradient<X>{dy.as<X>(), x.as<X>(), mean_rstd.as<float>(), dy.stride[0], x.stride[0]});
      column_sums(ctx, rows, d, dbias->as<float>(), 1.0f, BiasGradient<X>{dy.as<X>(), dy.stride[0]});
    }
    with_float_type("layer_norm_backward", weight.dtype, [&](auto* wt) {
      using W = std::remove_pointer_t<decltype(wt)>;
      launch(layer_norm_backward_kernel<X, W>, unsigned(rows), threads_for_row(d, kNormBackwardThreads), 0,
             stream_of(ctx), norm_backward_args<X, W>(dy, x, weight, mean_rstd, dx, accumulate));
    });
  });
}

}  // namespace vpref::cuda
