// SPDX-License-Identifier: Apache-2.0
// Converts CUDA runtime errors into the engine's exception, with file and line.
#pragma once
#include <cuda_runtime.h>

#include "core/context.h"
#include "core/error.h"

#define VPREF_CUDA_CHECK(call)                                                                                        \
  do {                                                                                                                \
    const cudaError_t status_ = (call);                                                                               \
    if (status_ != cudaSuccess) cudaGetLastError(); /* it is told here, not by the next launch too */                 \
    ::vpref::check(status_ == cudaSuccess, status_ == cudaErrorMemoryAllocation ? "memory" : "device", __FILE__, ":", \
                   __LINE__, ": ", cudaGetErrorString(status_));                                                      \
  } while (0)

namespace vpref::cuda {

inline cudaStream_t stream_of(const Context& ctx) { return static_cast<cudaStream_t>(ctx.stream); }

}  // namespace vpref::cuda
