// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise.h"

#include "backend/cuda/groups.cuh"

namespace vpref::cuda {
namespace {

template <class X, class Y>
struct Add {
  const X* x;
  Y* y;
  float alpha;
  int64_t x_stride, y_stride;
  bool wide;
  __device__ void operator()(int64_t row, int64_t col, int64_t count) const {
    float a[kGroup], sum[kGroup];
    load_group(x + row * x_stride + col, count, wide, a);
    load_group(y + row * y_stride + col, count, wide, sum);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) sum[i] += alpha * a[i];
    store_group(y + row * y_stride + col, count, wide, sum);
  }
};

struct Same {
  __device__ float operator()(float x) const { return x; }
};

template <class X>
struct ScaleRows {
  const float* scale;
  X* x;
  int64_t stride;
  bool wide;
  __device__ void operator()(int64_t row, int64_t col, int64_t count) const {
    float v[kGroup];
    load_group(x + row * stride + col, count, wide, v);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] *= scale[row];
    store_group(x + row * stride + col, count, wide, v);
  }
};

template <class X>
struct Fill {
  X* x;
  float value;
  bool wide;
  __device__ void operator()(int64_t, int64_t col, int64_t count) const {
    float v[kGroup];
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] = value;
    store_group(x + col, count, wide, v);
  }
};

}  // namespace

void add(Context& ctx, const Tensor& x, const Tensor& y, float alpha) {
  with_activation_type("add", x.dtype, [&](auto* xt) {
    with_activation_type("add", y.dtype, [&](auto* yt) {
      using X = std::remove_pointer_t<decltype(xt)>;
      using Y = std::remove_pointer_t<decltype(yt)>;
      const Extent e = extent_of(x, y);
      for_groups(ctx, e.rows, e.d,
                 Add<X, Y>{x.as<X>(), y.as<Y>(), alpha, row_stride(x), row_stride(y), all_wide_rows(x, y)});
    });
  });
}

void convert(Context& ctx, const Tensor& x, const Tensor& y) {
  with_float_type("convert", x.dtype, [&](auto* xt) {
    with_float_type("convert", y.dtype, [&](auto* yt) {
      using X = std::remove_pointer_t<decltype(xt)>;
      using Y = std::remove_pointer_t<decltype(yt)>;
      map<X, Y>(ctx, x, y, Same{});
    });
  });
}

void scale_rows(Context& ctx, const Tensor& row_scale, const Tensor& x) {
  with_activation_type("scale_rows", x.dtype, [&](auto* t) {
    using X = std::remove_pointer_t<decltype(t)>;
    for_groups(ctx, x.dim(0), x.dim(1), ScaleRows<X>{row_scale.as<float>(), x.as<X>(), x.stride[0], wide_rows(x)});
  });
}

void fill(Context& ctx, float value, const Tensor& x) {
  with_activation_type("fill", x.dtype, [&](auto* t) {
    using X = std::remove_pointer_t<decltype(t)>;
    for_groups(ctx, 1, x.numel(), Fill<X>{x.as<X>(), value, reinterpret_cast<uintptr_t>(x.data) % 16 == 0});
  });
}

}  // namespace vpref::cuda
