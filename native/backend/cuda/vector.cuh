// SPDX-License-Identifier: Apache-2.0
// Element access by dtype, in groups of eight if memory allows 16-byte accesses; sums over a block.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "core/dtype.h"
#include "core/error.h"
#include "core/tensor.h"

namespace vpref::cuda {

__device__ inline float load_f32(const float* p) { return *p; }
__device__ inline float load_f32(const __nv_bfloat16* p) { return __bfloat162float(*p); }
__device__ inline float load_f32(const __half* p) { return __half2float(*p); }
__device__ inline void store_f32(float* p, float v) { *p = v; }
__device__ inline void store_f32(__nv_bfloat16* p, float v) { *p = __float2bfloat16_rn(v); }
__device__ inline void store_f32(__half* p, float v) { *p = __float2half_rn(v); }
__device__ inline float load_as(DType type, const void* p, int64_t i) {
  if (type == DType::f32) return static_cast<const float*>(p)[i];
  if (type == DType::bf16) return load_f32(static_cast<const __nv_bfloat16*>(p) + i);
  return load_f32(static_cast<const __half*>(p) + i);
}

// Calls body(T*) with the element type of `dtype`, f32 or bf16 (activations). Throws dtype for others.
template <class Body>
void with_activation_type(const char* op, DType dtype, Body body) {
  switch (dtype) {
    case DType::f32:
      return body(static_cast<float*>(nullptr));
    case DType::bf16:
      return body(static_cast<__nv_bfloat16*>(nullptr));
    default:
      throw Error("dtype", cat("[", op, "] device cuda: no kernel for ", dtype_name(dtype)));
  }
}

// The same for weights, which may also be f16.
template <class Body>
void with_float_type(const char* op, DType dtype, Body body) {
  if (dtype == DType::f16) return body(static_cast<__half*>(nullptr));
  with_activation_type(op, dtype, body);
}

// --- groups of eight
// -----------------------------------------------------------------------------------------------------------------

constexpr int kGroup = 8;  // 16 bytes of bf16 or f16, 32 of f32

// Whether every row of t (of its last dimension) is aligned to 16 bytes, so that whole groups can be moved at a time.
inline bool wide_rows(const Tensor& t) {
  bool aligned = reinterpret_cast<uintptr_t>(t.data) % 16 == 0;
  for (int i = 0; i + 1 < t.rank; ++i) aligned = aligned && t.stride[i] * int64_t(dtype_size(t.dtype)) % 16 == 0;
  return aligned;
}
template <class... Tensors>
bool all_wide_rows(const Tensors&... t) {
  return (wide_rows(t) && ...);
}

__device__ inline void load_wide(const float* p, float (&v)[kGroup]) {
  const float4 a = *reinterpret_cast<const float4*>(p), b = *reinterpret_cast<const float4*>(p + 4);
  v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
__device__ inline void store_wide(float* p, const float (&v)[kGroup]) {
  *reinterpret_cast<float4*>(p) = make_float4(v[0], v[1], v[2], v[3]);
  *reinterpret_cast<float4*>(p + 4) = make_float4(v[4], v[5], v[6], v[7]);
}
template <class T>
struct __align__(16) Group {
  T v[kGroup];
};
template <class T>
__device__ void load_wide(const T* p, float (&v)[kGroup]) {
  const uint4 bits = *reinterpret_cast<const uint4*>(p);
  const Group<T>& g = reinterpret_cast<const Group<T>&>(bits);
#pragma unroll
  for (int i = 0; i < kGroup; ++i) v[i] = load_f32(&g.v[i]);
}
template <class T>
__device__ void store_wide(T* p, const float (&v)[kGroup]) {
  uint4 bits;
  Group<T>& g = reinterpret_cast<Group<T>&>(bits);
#pragma unroll
  for (int i = 0; i < kGroup; ++i) store_f32(&g.v[i], v[i]);
  *reinterpret_cast<uint4*>(p) = bits;
}

// The first min(count, 8) elements at p; 0 beyond. `wide`: p is aligned to 16 bytes.
template <class T>
__device__ void load_group(const T* p, int64_t count, bool wide, float (&v)[kGroup]) {
  if (wide && count >= kGroup) return load_wide(p, v);
#pragma unroll
  for (int i = 0; i < kGroup; ++i) v[i] = i < count ? load_f32(p + i) : 0.0f;
}
template <class T>
__device__ void store_group(T* p, int64_t count, bool wide, const float (&v)[kGroup]) {
  if (wide && count >= kGroup) return store_wide(p, v);
#pragma unroll
  for (int i = 0; i < kGroup; ++i)
    if (i < count) store_f32(p + i, v[i]);
}

// --- over a block
// --------------------------------------------------------------------------------------------------------------------

struct Sum {
  static constexpr float kEmpty = 0.0f;
  __device__ static float join(float a, float b) { return a + b; }
};
struct Max {
  static constexpr float kEmpty = -3.402823466e38f;
  __device__ static float join(float a, float b) { return fmaxf(a, b); }
};

// Over a block of at most 1024 threads, a multiple of the warp size; every thread gets the result. Fixed order.
template <class Join = Sum>
__device__ float block_reduce(float value, float* shared /* [32] */) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) value = Join::join(value, __shfl_xor_sync(0xffffffffu, value, step));
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  __syncthreads();  // an earlier result may still be read
  if (lane == 0) shared[warp] = value;
  __syncthreads();
  value = lane < warps ? shared[lane] : Join::kEmpty;
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) value = Join::join(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}
__device__ inline float block_sum(float value, float* shared /* [32] */) { return block_reduce<Sum>(value, shared); }

}  // namespace vpref::cuda
