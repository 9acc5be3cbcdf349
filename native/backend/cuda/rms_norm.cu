// SPDX-License-Identifier: Apache-2.0
// One block a row; the row is read twice, the second time from cache.
#include "ops/rms_norm.h"

#include <algorithm>

#include "backend/cuda/launch.cuh"
#include "backend/cuda/vector.cuh"

namespace vpref::cuda {
namespace {

// --- kernels --------------------------------------------------------------------------------------------------------------------

// residual (when `delta`) += delta; y = x * rstd * weight.
template <class X, class W>
__global__ void rms_norm_kernel(X* x, const X* delta, const W* weight, float eps, X* y, float* rstd, int64_t d, int64_t x_stride, int64_t delta_stride,
                                int64_t y_stride) {
  __shared__ float shared[32];
  X* row = x + blockIdx.x * x_stride;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < d; i += blockDim.x) {
    float v = load_f32(row + i);
    if (delta) {
      store_f32(row + i, v + load_f32(delta + blockIdx.x * delta_stride + i));
      v = load_f32(row + i);  // as stored: the norm is of what the next layer reads
    }
    squares += v * v;
  }
  const float scale = rsqrtf(block_sum(squares, shared) / float(d) + eps);
  if (rstd && threadIdx.x == 0) rstd[blockIdx.x] = scale;
  for (int64_t i = threadIdx.x; i < d; i += blockDim.x) store_f32(y + blockIdx.x * y_stride + i, load_f32(row + i) * scale * load_f32(weight + i));
}

// dx = rstd * (weight dy - x rstd^2 mean(weight dy x)).
template <class X, class W>
__global__ void rms_norm_backward_kernel(const X* dy, const X* x, const W* weight, const float* rstd, X* dx, bool accumulate, int64_t d, int64_t dy_stride,
                                         int64_t x_stride, int64_t dx_stride) {
  __shared__ float shared[32];
  const X *g = dy + blockIdx.x * dy_stride, *row = x + blockIdx.x * x_stride;
  X* out = dx + blockIdx.x * dx_stride;
  const float r = rstd[blockIdx.x];
  float dot = 0;
  for (int64_t i = threadIdx.x; i < d; i += blockDim.x) dot += load_f32(g + i) * load_f32(weight + i) * load_f32(row + i);
  const float factor = block_sum(dot, shared) * r * r / float(d);
  for (int64_t i = threadIdx.x; i < d; i += blockDim.x) {
    const float v = r * (load_f32(g + i) * load_f32(weight + i) - load_f32(row + i) * factor);
    store_f32(out + i, accumulate ? load_f32(out + i) + v : v);
  }
}

// One thread a column, rows in order: the same sum every time.
template <class X>
__global__ void rms_norm_weight_kernel(const X* dy, const X* x, const float* rstd, float* dweight, int64_t rows, int64_t d, int64_t dy_stride, int64_t x_stride) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= d) return;
  float sum = 0;
  for (int64_t t = 0; t < rows; ++t) sum += load_f32(dy + t * dy_stride + i) * load_f32(x + t * x_stride + i) * rstd[t];
  dweight[i] += sum;
}

// --- launchers ------------------------------------------------------------------------------------------------------------------

int threads_for_row(int64_t d) { return int(std::clamp<int64_t>((d + 31) / 32 * 32, 32, 512)); }

void norm_rows(Context& ctx, const Tensor& x, const Tensor* delta, const Tensor& weight, float eps, const Tensor& y, const Tensor* rstd) {
  with_float_type("rms_norm", x.dtype, [&](auto* xt) {
    with_float_type("rms_norm", weight.dtype, [&](auto* wt) {
      using X = std::remove_pointer_t<decltype(xt)>;
      using W = std::remove_pointer_t<decltype(wt)>;
      launch(rms_norm_kernel<X, W>, unsigned(x.dim(0)), threads_for_row(x.dim(1)), 0, stream_of(ctx), x.as<X>(), delta ? delta->as<X>() : nullptr, weight.as<W>(), eps, y.as<X>(), rstd ? rstd->as<float>() : nullptr, x.dim(1), x.stride[0],
          delta ? delta->stride[0] : 0, y.stride[0]);
    });
  });
}

}  // namespace

void rms_norm(Context& ctx, const Tensor& x, const Tensor& weight, float eps, const Tensor& y, const Tensor* rstd) {
  norm_rows(ctx, x, nullptr, weight, eps, y, rstd);
}

void add_rms_norm(Context& ctx, const Tensor& residual, const Tensor& delta, const Tensor& weight, float eps, const Tensor& y, const Tensor* rstd) {
  norm_rows(ctx, residual, &delta, weight, eps, y, rstd);
}

void rms_norm_backward(Context& ctx, const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& rstd, const Tensor& dx, bool accumulate,
                       const Tensor* dweight) {
  const int64_t rows = x.dim(0), d = x.dim(1);
  with_float_type("rms_norm_backward", x.dtype, [&](auto* xt) {
    using X = std::remove_pointer_t<decltype(xt)>;
    // Before dx: it may be dy's or x's own memory.
    if (dweight) {
      launch(rms_norm_weight_kernel<X>, unsigned((d + 255) / 256), 256, 0, stream_of(ctx), dy.as<X>(), x.as<X>(), rstd.as<float>(), dweight->as<float>(), rows, d,
                                                                                    dy.stride[0], x.stride[0]);
    }
    with_float_type("rms_norm_backward", weight.dtype, [&](auto* wt) {
      using W = std::remove_pointer_t<decltype(wt)>;
      launch(rms_norm_backward_kernel<X, W>, unsigned(rows), threads_for_row(d), 0, stream_of(ctx), dy.as<X>(), x.as<X>(), weight.as<W>(), rstd.as<float>(), dx.as<X>(),
                                                                                          accumulate, d, dy.stride[0], x.stride[0], dx.stride[0]);
    });
  });
}

}  // namespace vpref::cuda
