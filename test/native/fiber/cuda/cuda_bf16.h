// SPDX-License-Identifier: Apache-2.0
// Stand-in for CUDA's bf16 type: the bits, and the conversions to and from f32 that kernels use.
#pragma once
#include "core/dtype.h"
#include "cuda_runtime.h"

struct __nv_bfloat16 {
  uint16_t bits;
};
struct __align__(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline float __bfloat162float(__nv_bfloat16 v) { return vpref::to_f32(vpref::bf16_t{v.bits}); }
inline __nv_bfloat16 __float2bfloat16_rn(float v) { return {vpref::to_bf16(v).bits}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
