// SPDX-License-Identifier: Apache-2.0
#include "ops/gelu.h"

#include "backend/cuda/activation.cuh"
#include "backend/cuda/groups.cuh"

namespace vpref::cuda {
namespace {

// 0.5 (1 + tanh(a)) = sigmoid(2 a), a = sqrt(2 / pi) (x + 0.044715 x^3).
__device__ float tanh_argument(float x) { return 1.59576912f * x * (1.0f + 0.044715f * x * x); }

template <Gelu kind>
__device__ float value_of(float x) {
  if (kind == Gelu::exact) return x * normal_cdf(x);
  return x * sigmoid(kind == Gelu::quick ? 1.702f * x : tanh_argument(x));
}

template <Gelu kind>
__device__ float slope_of(float x) {
  if (kind == Gelu::exact) return normal_cdf(x) + x * normal_pdf(x);
  const float s = sigmoid(kind == Gelu::quick ? 1.702f * x : tanh_argument(x));
  const float inner = kind == Gelu::quick ? 1.702f : 1.59576912f * (1.0f + 0.134145f * x * x);
  // At large |x| the slope is 0 or 1, and inner * x may be infinite.
  return s == 0.0f || s == 1.0f ? s : s * (1.0f + x * inner * (1.0f - s));
}

template <Gelu kind, class T>
struct Forward {
  const T* x;
  T* y;
  int64_t x_stride, y_stride;
  bool wide;
  __device__ void operator()(int64_t row, int64_t col, int64_t count) const {
    float v[kGroup];
    load_group(x + row * x_stride + col, count, wide, v);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] = value_of<kind>(v[i]);
    store_group(y + row * y_stride + col, count, wide, v);
  }
};

template <Gelu kind, class T>
struct Backward {
  const T *dy, *x;
  T* dx;
  int64_t dy_stride, x_stride, dx_stride;
  bool wide;
  __device__ void operator()(int64_t row, int64_t col, int64_t count) const {
    float v[kGroup], d[kGroup];
    load_group(dy + row * dy_stride + col, count, wide, d);
    load_group(x + row * x_stride + col, count, wide, v);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) d[i] *= slope_of<kind>(v[i]);
    store_group(dx + row * dx_stride + col, count, wide, d);
  }
};

// body(integral constant of kind, T*).
template <class Body>
void with_kind(const char* op, Gelu kind, const Tensor& x, const Tensor& y, Body body) {
  check(x.dtype == y.dtype, "dtype", "[", op, "] device cuda: expected every operand as ", dtype_name(x.dtype), ", got ", shape_string(y));
  with_activation_type(op, x.dtype, [&](auto* t) {
    switch (kind) {
      case Gelu::exact: return body(std::integral_constant<Gelu, Gelu::exact>(), t);
      case Gelu::quick: return body(std::integral_constant<Gelu, Gelu::quick>(), t);
      case Gelu::tanh: return body(std::integral_constant<Gelu, Gelu::tanh>(), t);
    }
  });
}

}  // namespace

void gelu(Context& ctx, Gelu kind, const Tensor& x, const Tensor& y) {
  with_kind("gelu", kind, x, y, [&](auto k, auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    const Extent e = extent_of(x, y);
    for_groups(ctx, e.rows, e.d, Forward<decltype(k)::value, T>{x.as<T>(), y.as<T>(), x.stride[0], y.stride[0], all_wide_rows(x, y)});
  });
}

void gelu_backward(Context& ctx, Gelu kind, const Tensor& dy, const Tensor& x, const Tensor& dx) {
  check(dy.dtype == x.dtype, "dtype", "[gelu_backward] device cuda: expected every operand as ", dtype_name(x.dtype), ", got ", shape_string(dy));
  with_kind("gelu_backward", kind, x, dx, [&](auto k, auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    const Extent e = extent_of(x, dy, dx);
    for_groups(ctx, e.rows, e.d,
               Backward<decltype(k)::value, T>{dy.as<T>(), x.as<T>(), dx.as<T>(), dy.stride[0], x.stride[0], dx.stride[0], all_wide_rows(dy, x, dx)});
  });
}

}  // namespace vpref::cuda
