// SPDX-License-Identifier: Apache-2.0
// How the norms split a row over a block: in groups of eight columns, the first kKeptGroups of each thread held in registers between their two passes.
#pragma once
#include <algorithm>

#include "backend/cuda/vector.cuh"

namespace vpref::cuda {

constexpr int kKeptGroups = 2;
// Threads a block at most; the kernels' launch bounds keep their registers within a multiprocessor's 65536.
constexpr int kNormThreads = 1024, kNormBackwardThreads = 512;

// The first column of this thread's k-th group, and the distance to its next.
__device__ inline int64_t row_step() { return int64_t(blockDim.x) * kGroup; }
__device__ inline int64_t row_column(int k) { return k * row_step() + int64_t(threadIdx.x) * kGroup; }

// So many that each thread's groups fit its registers, for rows of up to 16 columns times `most`.
inline unsigned threads_for_row(int64_t d, int64_t most) {
  const int64_t groups = (d + kGroup - 1) / kGroup;
  return unsigned(std::clamp<int64_t>(((groups + kKeptGroups - 1) / kKeptGroups + 31) / 32 * 32, 32, most));
}

// v as a value stored as T reads back.
template <class T>
__device__ float rounded_to(float v) {
  T stored;
  store_f32(&stored, v);
  return load_f32(&stored);
}

}  // namespace vpref::cuda
