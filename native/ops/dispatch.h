// SPDX-License-Identifier: Apache-2.0
// The only place that selects the backend by device. A context that measures calls no backend; the op then returns an
// empty value. Every op header declares its kernels as
// `namespace cpu { void op(...); }` and `namespace cuda { void op(...); }` with the op's own signature; ops/<op>.cc
// checks its operands and calls VPREF_DISPATCH. The backend selects the dtype of each operand.
//
// Every Tensor is device memory (also indices, positions, targets, sampled tokens). An AttentionPlan is a host object;
// what a backend derives from it is kept in plan.cache, because every layer of a step uses the same plan.
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

// Declares the two kernels of an op from one parameter list. The CUDA kernel is a weak symbol: without an
// implementation it is null, and the op throws an error.
#define VPREF_KERNELS(ret, op, ...)          \
  namespace cpu {                            \
  ret op(__VA_ARGS__);                       \
  }                                          \
  namespace cuda {                           \
  __attribute__((weak)) ret op(__VA_ARGS__); \
  }
