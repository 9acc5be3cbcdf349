// SPDX-License-Identifier: Apache-2.0
// The functions of SwiGLU and GELU, accurate to a few units in the last place of f32.
#pragma once
#include <cuda_runtime.h>

#include <cmath>

namespace vpref::cuda {

// The division flushes quotients below 2^-126 to 0, which is the limit.
__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1.0f + expf(-x)); }
__device__ inline float normal_cdf(float x) { return 0.5f + 0.5f * erff(x * 0.70710678f); }
__device__ inline float normal_pdf(float x) { return 0.398942280f * expf(-0.5f * x * x); }

}  // namespace vpref::cuda
