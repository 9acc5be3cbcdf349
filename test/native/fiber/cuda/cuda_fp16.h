// SPDX-License-Identifier: Apache-2.0
// Stand-in for CUDA's f16 type: the bits, and the conversions to and from f32 that kernels use.
#pragma once
#include "core/dtype.h"
#include "cuda_runtime.h"

struct __half {
  uint16_t bits;
};
struct __align__(4) __half2 {
  __half x, y;
};

inline float __half2float(__half v) { return vpref::to_f32(vpref::f16_t{v.bits}); }
inline __half __float2half_rn(float v) { return {vpref::to_f16(v).bits}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
