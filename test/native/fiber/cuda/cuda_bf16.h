// SPDX-License-Identifier: Apache-2.0
// Stand-in for CUDA's bf16 type: the bits, and the conversions to and from f32.
#pragma once
#include "core/dtype.h"
#include "cuda_runtime.h"

struct __nv_bfloat16 { uint16_t bits; };
struct __align__(4) __nv_bfloat162 { __nv_bfloat16 x, y; };
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

inline float __bfloat162float(__nv_bfloat16 v) { return vpref::to_f32(vpref::bf16_t{v.bits}); }
inline __nv_bfloat16 __float2bfloat16_rn(float v) { return {vpref::to_bf16(v).bits}; }
inline __nv_bfloat16 __float2bfloat16(float v) { return __float2bfloat16_rn(v); }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 v) { return __floats2bfloat162_rn(v.x, v.y); }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {__bfloat162float(v.x), __bfloat162float(v.y)}; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 v) { return v.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }
