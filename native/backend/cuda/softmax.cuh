// SPDX-License-Identifier: Apache-2.0
// The maximum and the sum of exponentials of a row, in one pass.
#pragma once
#include <algorithm>
#include <cmath>

#include "backend/cuda/vector.cuh"

namespace vpref::cuda {

struct RowSum {
  float max;
  float sum;  // sum of exp(v - max); not finite if a value was NaN or infinite
};

// The subtrahend of exponents: avoids NaN for a row of only -inf, which would spread to the block's sums.
__device__ inline float finite_base(float max) { return max == -INFINITY ? 0.0f : max; }

// Of row[0, n), by all threads of a block; every thread gets the result. Fixed order.
template <class X>
__device__ RowSum row_sum(const X* row, int64_t n, bool wide, float* shared /* [32] */) {
  float max = -INFINITY, sum = 0;
  for (int64_t col = int64_t(threadIdx.x) * kGroup; col < n; col += int64_t(blockDim.x) * kGroup) {
    float v[kGroup], top = max;
    load_group(row + col, n - col, wide, v);
#pragma unroll
    for (int i = 0; i < kGroup; ++i)
      if (col + i < n) top = fmaxf(top, v[i]);
    const float base = finite_base(top);
    sum *= expf(max - base);
    max = top;
#pragma unroll
    for (int i = 0; i < kGroup; ++i)
      if (col + i < n) sum += expf(v[i] - base);
  }
  const float all = block_reduce<Max>(fmaxf(max, Max::kEmpty), shared);
  // A thread without values must not scale its 0 by exp(-max).
  return {all, block_sum(sum == 0.0f ? 0.0f : sum * expf(finite_base(max) - all), shared)};
}

constexpr int kRowThreads = 512;  // maximum threads per block

inline unsigned threads_for_vocabulary(int64_t v) {
  const int64_t groups = (v + kGroup - 1) / kGroup;
  return unsigned(std::min<int64_t>(kRowThreads, (groups + 31) / 32 * 32));
}

}  // namespace vpref::cuda
