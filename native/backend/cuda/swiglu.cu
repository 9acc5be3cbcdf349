// SPDX-License-Identifier: Apache-2.0
#include "ops/swiglu.h"

#include "backend/cuda/activation.cuh"
#include "backend/cuda/groups.cuh"

namespace vpref::cuda {
namespace {

struct Value {
  __device__ float operator()(float gate, float up) const { return up * (gate * sigmoid(gate)); }
};

template <class T>
struct Backward {
  const T *dy, *gate, *up;
  T *dgate, *dup;
  int64_t dy_stride, gate_stride, up_stride, dgate_stride, dup_stride;
  bool wide;
  __device__ void operator()(int64_t row, int64_t col, int64_t count) const {
    float d[kGroup], g[kGroup], u[kGroup];
    load_group(dy + row * dy_stride + col, count, wide, d);
    load_group(gate + row * gate_stride + col, count, wide, g);
    load_group(up + row * up_stride + col, count, wide, u);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const float s = sigmoid(g[i]), du = d[i] * g[i] * s;
      g[i] = d[i] * u[i] * s * (1.0f + g[i] * (1.0f - s));
      u[i] = du;
    }
    store_group(dgate + row * dgate_stride + col, count, wide, g);
    store_group(dup + row * dup_stride + col, count, wide, u);
  }
};

void check_one_dtype(const char* op, const Tensor& t, const Tensor& as) {
  check(t.dtype == as.dtype, "dtype", "[", op, "] device cuda: expected every operand as ", dtype_name(as.dtype),
        ", got ", t);
}

}  // namespace

void swiglu(Context& ctx, const Tensor& gate, const Tensor& up, const Tensor& y) {
  check_one_dtype("swiglu", up, gate);
  check_one_dtype("swiglu", y, gate);
  with_activation_type("swiglu", gate.dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    map<T>(ctx, gate, up, y, Value{});
  });
}

void swiglu_backward(Context& ctx, const Tensor& dy, const Tensor& gate, const Tensor& up, const Tensor& dgate,
                     const Tensor& dup) {
  for (const Tensor* t : {&dy, &up, &dgate, &dup}) check_one_dtype("swiglu_backward", *t, gate);
  with_activation_type("swiglu_backward", gate.dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    const Extent e = extent_of(gate, up, dy, dgate, dup);
    for_groups(
        ctx, e.rows, e.d,
        Backward<T>{dy.as<T>(), gate.as<T>(), up.as<T>(), dgate.as<T>(), dup.as<T>(), dy.stride[0], gate.stride[0],
                    up.stride[0], dgate.stride[0], dup.stride[0], all_wide_rows(dy, gate, up, dgate, dup)});
  });
}

}  // namespace vpref::cuda
