// SPDX-License-Identifier: Apache-2.0
// Stand-in for CUDA's header when kernels run on the CPU: the language's keywords, built-in functions, and the
// runtime's calls on host memory. The host cannot access device memory unless a kernel or a copy runs
// (device_memory.h).
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "fiber/executor.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __constant__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__

constexpr int warpSize = 32;

// --- vectors
// ----------------------------------------------------------------------

struct __align__(8) float2 {
  float x, y;
};
struct __align__(16) float4 {
  float x, y, z, w;
};
struct __align__(8) int2 {
  int x, y;
};
struct __align__(16) int4 {
  int x, y, z, w;
};
struct __align__(8) uint2 {
  unsigned x, y;
};
struct __align__(16) uint4 {
  unsigned x, y, z, w;
};
struct __align__(16) double2 {
  double x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// --- arithmetic
// ----------------------------------------------------------------------

using std::isfinite;
using std::isnan;
using std::max;
using std::min;
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float rcbrtf(float x) { return 1.0f / std::cbrt(x); }
inline float normcdff(float x) { return 0.5f * std::erfc(x * -0.70710678118654752f); }
inline float __saturatef(float x) { return std::min(1.0f, std::max(0.0f, x)); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return std::countl_zero(unsigned(x)); }
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; ++i) y |= (x >> i & 1) << (31 - i);
  return y;
}
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, T v) {
  *p = v;
}
template <class T>
void __stcg(T* p, T v) {
  *p = v;
}

// Only one fiber runs at a time, so plain updates are atomic.
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  T old = *p;
  *p = old + v;
  return old;
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  T old = *p;
  *p = std::max(old, v);
  return old;
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  T old = *p;
  *p = std::min(old, v);
  return old;
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> v) {
  T old = *p;
  *p = old | v;
  return old;
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  T old = *p;
  *p = v;
  return old;
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  T old = *p;
  if (old == expected) *p = v;
  return old;
}
// CUDA's definition: old >= limit ? 0 : old + 1.
inline unsigned atomicInc(unsigned* p, unsigned limit) {
  unsigned old = *p;
  *p = old >= limit ? 0 : old + 1;
  return old;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// --- threads
// ----------------------------------------------------------------------

inline void __syncthreads(vpref::fiber::Where where = vpref::fiber::Where::current()) {
  vpref::fiber::block_barrier(0, where);
}
inline int __syncthreads_count(int p, vpref::fiber::Where where = vpref::fiber::Where::current()) {
  return vpref::fiber::block_barrier(p, where);
}
inline int __syncthreads_or(int p, vpref::fiber::Where where = vpref::fiber::Where::current()) {
  return vpref::fiber::block_barrier(p, where) > 0;
}
inline int __syncthreads_and(int p, vpref::fiber::Where where = vpref::fiber::Where::current()) {
  return vpref::fiber::block_barrier(p, where) == int(blockDim.x * blockDim.y * blockDim.z);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, vpref::fiber::Where where = vpref::fiber::Where::current()) {
  vpref::fiber::warp_collective(mask, nullptr, [](unsigned, void* const*) {}, where);
}

namespace vpref::fiber {

template <class T>
struct Exchange {
  T value, result;
  int source;  // the lane that it reads; its own if that is outside its part of the warp
};

template <class T>
T exchange(unsigned mask, T value, int source, const Where& where) {
  Exchange<T> mine{value, value, source};
  warp_collective(
      mask, &mine,
      [](unsigned lanes, void* const* operands) {
        for (int l = 0; l < 32; ++l) {
          if (!(lanes >> l & 1)) continue;
          Exchange<T>* to = static_cast<Exchange<T>*>(operands[l]);
          if (!(lanes >> to->source & 1)) fail("a shuffle reads a lane that is not in its mask");
          to->result = static_cast<const Exchange<T>*>(operands[to->source])->value;
        }
      },
      where);
  return mine.result;
}

struct Vote {
  int predicate;
  unsigned ballot;
};

inline unsigned ballot(unsigned mask, int predicate, const Where& where) {
  Vote mine{predicate, 0};
  warp_collective(
      mask, &mine,
      [](unsigned lanes, void* const* operands) {
        unsigned bits = 0;
        for (int l = 0; l < 32; ++l)
          if ((lanes >> l & 1) && static_cast<const Vote*>(operands[l])->predicate) bits |= 1u << l;
        for (int l = 0; l < 32; ++l)
          if (lanes >> l & 1) static_cast<Vote*>(operands[l])->ballot = bits;
      },
      where);
  return mine.ballot;
}

}  // namespace vpref::fiber

template <class T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32,
              vpref::fiber::Where where = vpref::fiber::Where::current()) {
  const int lane = vpref::fiber::lane();
  return vpref::fiber::exchange(mask, v, lane / width * width + (source & (width - 1)), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32,
                  vpref::fiber::Where where = vpref::fiber::Where::current()) {
  const int lane = vpref::fiber::lane(), source = lane ^ bits;
  return vpref::fiber::exchange(mask, v, source / width <= lane / width ? source : lane, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32,
                   vpref::fiber::Where where = vpref::fiber::Where::current()) {
  const int lane = vpref::fiber::lane();
  return vpref::fiber::exchange(mask, v, lane % width + int(delta) < width ? lane + int(delta) : lane, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32,
                 vpref::fiber::Where where = vpref::fiber::Where::current()) {
  const int lane = vpref::fiber::lane();
  return vpref::fiber::exchange(mask, v, lane % width >= int(delta) ? lane - int(delta) : lane, where);
}
inline unsigned __ballot_sync(unsigned mask, int p, vpref::fiber::Where where = vpref::fiber::Where::current()) {
  return vpref::fiber::ballot(mask, p, where);
}
inline int __any_sync(unsigned mask, int p, vpref::fiber::Where where = vpref::fiber::Where::current()) {
  return vpref::fiber::ballot(mask, p, where) != 0;
}
inline int __all_sync(unsigned mask, int p, vpref::fiber::Where where = vpref::fiber::Where::current()) {
  return vpref::fiber::ballot(mask, p, where) == mask;
}

// --- the runtime
// ----------------------------------------------------------------------

using cudaStream_t = struct FiberStream*;
using cudaEvent_t = struct FiberEvent*;
using cudaGraph_t = struct FiberGraph*;
using cudaGraphExec_t = struct FiberGraphExec*;
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNotSupported = 801,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901
};
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrL2CacheSize = 38
};

inline const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default:
      return "not supported here";
  }
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
cudaError_t cudaMalloc(void** p, size_t bytes);  // its first part filled with 0xff (NaN)
cudaError_t cudaFree(void* p);
cudaError_t cudaMemset(void* p, int value, size_t bytes);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
inline cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t = nullptr) {
  return cudaMemset(p, value, bytes);
}  // not in a capture
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total);
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
template <class F>
cudaError_t cudaFuncSetAttribute(F, cudaFuncAttribute, int) {
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t bytes);
cudaError_t cudaFreeHost(void* p);
// All streams are one queue (stream.h), so no stream waits for another.
enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
inline cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned = 0) { return cudaSuccess; }
