// SPDX-License-Identifier: Apache-2.0
// Element access by dtype, and sums over a block.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/dtype.h"
#include "core/error.h"

namespace vpref::cuda {

__device__ inline float load_f32(const float* p) { return *p; }
__device__ inline float load_f32(const __nv_bfloat16* p) { return __bfloat162float(*p); }
__device__ inline float load_f32(const __half* p) { return __half2float(*p); }
__device__ inline void store_f32(float* p, float v) { *p = v; }
__device__ inline void store_f32(__nv_bfloat16* p, float v) { *p = __float2bfloat16_rn(v); }
__device__ inline void store_f32(__half* p, float v) { *p = __float2half_rn(v); }

// body(T*) with T the element type of `dtype`. Throws dtype for what is no float.
template <class Body>
void with_float_type(const char* op, DType dtype, Body body) {
  switch (dtype) {
    case DType::f32: return body(static_cast<float*>(nullptr));
    case DType::bf16: return body(static_cast<__nv_bfloat16*>(nullptr));
    case DType::f16: return body(static_cast<__half*>(nullptr));
    default: throw Error("dtype", cat("[", op, "] device cuda: no kernel for ", dtype_name(dtype)));
  }
}

// Sum over a block of at most 1024 threads, a whole number of warps; every thread gets it. Fixed order.
__device__ inline float block_sum(float value, float* shared /* [32] */) {
  for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(0xffffffffu, value, step);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  __syncthreads();  // an earlier sum may still be read
  if (lane == 0) shared[warp] = value;
  __syncthreads();
  value = lane < warps ? shared[lane] : 0.0f;
  for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

}  // namespace vpref::cuda
