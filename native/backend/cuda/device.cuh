// SPDX-License-Identifier: Apache-2.0
// The device primitives that kernels use beyond plain CUDA C++, with two implementations. nvcc compiles the PTX below;
// the fiber executor of the tests (test/native/fiber) has functions that do the same on the CPU, so a kernel's source
// runs unchanged on both.
//
// Everything else has CUDA's name in both: threadIdx, __syncthreads, __syncwarp,
// __shfl_*_sync, __ballot_sync, atomicAdd,
// __expf, float4, __nv_bfloat16 ... Launch with launch(kernel, grid, block, shared bytes, stream, args...) of
// launch.cuh, never with <<<>>>. Shared memory: static as `__shared__ T name[n]`, dynamic by dynamic_shared<T>(), never
// by `extern __shared__`. Whole warps only.
//
// Fragments, with g = lane / 4 and t = lane % 4; a register holds two 16-bit elements, the first in its low half:
//   mma_m16n8k16<T>   c[16][8] += a[16][16] b[16][8], T = __nv_bfloat16 or __half, sums in f32
//     a: a[0] = (row g, cols 2t, 2t+1)     a[1] = (row g+8, cols 2t, 2t+1)
//        a[2] = (row g, cols 2t+8, 2t+9)   a[3] = (row g+8, cols 2t+8, 2t+9)
//     b: b[0] = (k 2t, 2t+1; n g)        b[1] = (k 2t+8, 2t+9; n g)
//     c: c[0], c[1] = (row g, cols 2t, 2t+1)   c[2], c[3] = (row g+8, cols 2t, 2t+1)
//   mma_m16n8k8_tf32  c[16][8] += a[16][8] b[8][8], one tf32 (to_tf32) per register
//     a: a[0] = (row g, col t)   a[1] = (row g+8, col t)   a[2] = (row g, col t+4)   a[3] = (row g+8, col t+4)
//     b: b[0] = (k t; n g)       b[1] = (k t+4; n g)       c as above
//   ldmatrix_x4(r, row)  four 8x8 matrices of 16-bit elements from shared memory: lane l gives the address of row
//     l % 8 of matrix l / 8 (16-byte aligned); r[m] = matrix m's (row g, cols 2t, 2t+1), with _trans its (rows 2t,
//     2t+1, col g). _x2 takes the addresses of lanes 0-15; all lanes must give valid ones.
//     A fragment of a from a row-major [16][16] tile s: row = s[lane % 16] + lane / 16 * 8, plain.
//     Fragments of b of two n-tiles from weights stored [n][k] (as q k^T): row = s[lane % 8 + lane / 16 * 8] +
//     lane / 8 % 2 * 8, plain, giving b of n 0-7 in r[0], r[1] and of n 8-15 in r[2], r[3].
//     From values stored [k][n] (as p v): row = s[lane % 16] + lane / 16 * 8, _trans, the same order.
//
// cp_async<16>(shared, global, valid): copies 16 bytes (4 or 8 too) in the background, zeros when not valid.
// cp_async_commit() closes a group of this thread's copies. cp_async_wait<N>() waits until at most its N newest groups
// are in flight; a barrier must follow before other threads' copies are read. cp_async_once() copies 16 bytes that are
// read only once: L2 evicts them first. load_ahead(global, valid) loads 16 bytes, zeros when not valid,
// in program order: for a later step of a loop.
//
// grid_dependency_synchronize(): every thread of a kernel started by launch_dependent() calls it once, before it reads
// or writes memory that the previous launch uses. After it the next launch may start, so at most two launches overlap.
// Without launch_dependent() it costs nothing. PTX: griddepcontrol (Hopper and later).
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#ifdef VPREF_FIBER
#include "fiber/warp.h"
#else

namespace vpref::cuda {

template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char vpref_dynamic_shared[];
  return reinterpret_cast<T*>(vpref_dynamic_shared);
}

__device__ inline uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }

template <int Bytes>
__device__ void cp_async(void* shared, const void* global, bool valid = true) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  const int count = valid ? Bytes : 0;
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(shared)), "l"(global),
                 "r"(count)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;\n" ::"r"(shared_address(shared)), "l"(global),
                 "r"(count), "n"(Bytes)
                 : "memory");
  }
}
__device__ inline void cp_async_once(void* shared, const void* global, bool valid = true) {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;\n" : "=l"(policy));
  asm volatile(
      "cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;\n" ::"r"(shared_address(shared)),
      "l"(global), "r"(valid ? 16 : 0), "l"(policy)
      : "memory");
}
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int GroupsLeft>
__device__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(GroupsLeft) : "memory");
}
__device__ inline uint4 load_ahead(const void* global, bool valid = true) {
  uint4 v;
  asm volatile(
      "{.reg .pred valid; setp.ne.b32 valid, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;\n"
      "@valid ld.global.v4.u32 {%0,%1,%2,%3}, [%4];}\n"
      : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
      : "l"(global), "r"(int(valid))
      : "memory");
  return v;
}
__device__ inline void grid_dependency_synchronize() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\ngriddepcontrol.launch_dependents;\n" ::: "memory");
#endif
}

__device__ inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}

template <class T>
__device__ void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
template <>
__device__ inline void mma_m16n8k16<__nv_bfloat16>(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ inline void mma_m16n8k16<__half>(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ inline void mma_m16n8k8_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ inline uint32_t to_tf32(float v) {
  uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(r) : "f"(v));
  return r;
}

}  // namespace vpref::cuda

#endif

namespace vpref::cuda {

// Two f32 as one register of 16-bit elements, rounded to nearest, `low` in the low half.
template <class T>
__device__ uint32_t pack_pair(float low, float high);
template <>
__device__ inline uint32_t pack_pair<__nv_bfloat16>(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
template <>
__device__ inline uint32_t pack_pair<__half>(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

}  // namespace vpref::cuda
