// SPDX-License-Identifier: Apache-2.0
// The one place where the device selects the backend. Every op header declares its kernels as
// `namespace cpu { void op(...); }` and `namespace cuda { void op(...); }` with the op's own signature; ops/<op>.cc checks and then
// calls VPREF_DISPATCH. Dtypes are selected inside the backend, per operand.
#pragma once
#include "core/context.h"
#include "core/error.h"

#ifdef VPREF_CUDA
#define VPREF_DISPATCH(ctx, op, ...) \
  ((ctx).device == ::vpref::Device::cuda ? cuda::op(ctx, __VA_ARGS__) : cpu::op(ctx, __VA_ARGS__))
#else
#define VPREF_DISPATCH(ctx, op, ...)                                                                  \
  ((ctx).device == ::vpref::Device::cuda                                                              \
       ? throw ::vpref::Error("device", "[" #op "] device cuda: this engine was built without CUDA") \
       : cpu::op(ctx, __VA_ARGS__))
#endif

// Declares the two kernels of an op from one parameter list.
#define VPREF_KERNELS(ret, op, ...)      \
  namespace cpu { ret op(__VA_ARGS__); } \
  namespace cuda { ret op(__VA_ARGS__); }
