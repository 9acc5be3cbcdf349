// SPDX-License-Identifier: Apache-2.0
// The one place where the device selects the backend; a context that measures calls none, and what an op returns is
// then empty. Every op header declares its kernels as
// `namespace cpu { void op(...); }` and `namespace cuda { void op(...); }` with the op's own signature; ops/<op>.cc
// checks and then calls VPREF_DISPATCH. Dtypes are selected inside the backend, per operand.
//
// Every Tensor is memory of the device (indices, positions, targets, drawn tokens too); an AttentionPlan is a host
// object, and what a backend derives from it is kept in plan.cache, since every layer of a step calls with the same
// plan.
#pragma once
#include "core/context.h"
#include "core/error.h"

#ifdef VPREF_CUDA
#define VPREF_DISPATCH(ctx, op, ...)                                               \
  ((ctx).measuring()                       ? decltype(cpu::op(ctx, __VA_ARGS__))() \
   : (ctx).device != ::vpref::Device::cuda ? cpu::op(ctx, __VA_ARGS__)             \
   : cuda::op ? cuda::op(ctx, __VA_ARGS__)                                         \
              : throw ::vpref::Error("device", "[" #op "] device cuda: this op has no CUDA kernel yet"))
#else
#define VPREF_DISPATCH(ctx, op, ...)                                                                 \
  ((ctx).measuring() ? decltype(cpu::op(ctx, __VA_ARGS__))()                                         \
   : (ctx).device == ::vpref::Device::cuda                                                           \
       ? throw ::vpref::Error("device", "[" #op "] device cuda: this engine was built without CUDA") \
       : cpu::op(ctx, __VA_ARGS__))
#endif

// Declares the two kernels of an op from one parameter list. The CUDA one is weak: an op whose kernel is not written is
// null, and says so.
#define VPREF_KERNELS(ret, op, ...)          \
  namespace cpu {                            \
  ret op(__VA_ARGS__);                       \
  }                                          \
  namespace cuda {                           \
  __attribute__((weak)) ret op(__VA_ARGS__); \
  }
