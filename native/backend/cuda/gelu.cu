// SPDX-License-Identifier: Apache-2.0
#include "ops/gelu.h"

#include "backend/cuda/activation.cuh"
#include "backend/cuda/groups.cuh"

namespace vpref::cuda {
namespace {

// 0.5 (1 + tanh(a)) = sigmoid(2 a), a = sqrt(2 / pi) (x + 0.044715 x^3).
__device__ float tanh_argument(float x) { return 1.59576912f * x * (1.0f + 0.044715f * x * x); }

template <Gelu kind>
struct Value {
  __device__ float operator()(float x) const {
    if (kind == Gelu::exact) return x * normal_cdf(x);
    return x * sigmoid(kind == Gelu::quick ? 1.702f * x : tanh_argument(x));
  }
};

template <Gelu kind>
struct Gradient {
  __device__ float operator()(float dy, float x) const { return dy * slope(x); }
  __device__ static float slope(float x) {
    if (kind == Gelu::exact) return normal_cdf(x) + x * normal_pdf(x);
    const float s = sigmoid(kind == Gelu::quick ? 1.702f * x : tanh_argument(x));
    const float inner = kind == Gelu::quick ? 1.702f : 1.59576912f * (1.0f + 0.134145f * x * x);
    // At large |x| the slope is 0 or 1, and inner * x may be infinite.
    return s == 0.0f || s == 1.0f ? s : s * (1.0f + x * inner * (1.0f - s));
  }
};

// Calls body(integral constant of kind, T*).
template <class Body>
void with_kind(const char* op, Gelu kind, const Tensor& x, const Tensor& y, Body body) {
  check(x.dtype == y.dtype, "dtype", "[", op, "] device cuda: expected every operand as ", dtype_name(x.dtype),
        ", got ", y);
  with_activation_type(op, x.dtype, [&](auto* t) {
    switch (kind) {
      case Gelu::exact:
        return body(std::integral_constant<Gelu, Gelu::exact>(), t);
      case Gelu::quick:
        return body(std::integral_constant<Gelu, Gelu::quick>(), t);
      case Gelu::tanh:
        return body(std::integral_constant<Gelu, Gelu::tanh>(), t);
    }
  });
}

}  // namespace

void gelu(Context& ctx, Gelu kind, const Tensor& x, const Tensor& y) {
  with_kind("gelu", kind, x, y, [&](auto k, auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    map<T, T>(ctx, x, y, Value<decltype(k)::value>{});
  });
}

void gelu_backward(Context& ctx, Gelu kind, const Tensor& dy, const Tensor& x, const Tensor& dx) {
  check(dy.dtype == x.dtype, "dtype", "[gelu_backward] device cuda: expected every operand as ", dtype_name(x.dtype),
        ", got ", dy);
  with_kind("gelu_backward", kind, x, dx, [&](auto k, auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    map<T>(ctx, dy, x, dx, Gradient<decltype(k)::value>{});
  });
}

}  // namespace vpref::cuda
