// SPDX-License-Identifier: Apache-2.0
#include "ops/dropout.h"

#include "backend/cuda/groups.cuh"
#include "backend/cuda/philox.cuh"

namespace vpref::cuda {
namespace {

template <class X>
struct Dropout {
  const X* x;
  X* y;
  const int32_t* rows;
  uint64_t seed;
  uint32_t place, threshold;
  float scale;
  int64_t x_stride, y_stride;
  bool wide, accumulate;
  __device__ void operator()(int64_t row, int64_t col, int64_t count) const {
    float v[kGroup], sum[kGroup] = {};
    load_group(x + row * x_stride + col, count, wide, v);
    if (accumulate) load_group(y + row * y_stride + col, count, wide, sum);
#pragma unroll
    for (int half = 0; half < kGroup / 4; ++half) {
      unsigned words[4] = {unsigned(col / 4 + half), place, unsigned(rows[2 * row]), unsigned(rows[2 * row + 1])};
      philox4x32(seed, words);
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[4 * half + i] += words[i] < threshold ? 0.0f : scale * v[4 * half + i];
    }
    store_group(y + row * y_stride + col, count, wide, sum);
  }
};

}  // namespace

void dropout(Context& ctx, const Tensor& x, const Tensor& rows, const DropoutMask& mask, const Tensor& y,
             bool accumulate) {
  with_activation_type("dropout", x.dtype, [&](auto* t) {
    using X = std::remove_pointer_t<decltype(t)>;
    for_groups(ctx, x.dim(0), x.dim(1),
               Dropout<X>{x.as<X>(), y.as<X>(), rows.as<int32_t>(), mask.seed, mask.place, mask.threshold(),
                          mask.scale(), x.stride[0], y.stride[0], all_wide_rows(x, y), accumulate});
  });
}

}  // namespace vpref::cuda
