// SPDX-License-Identifier: Apache-2.0
// One block per row: one pass for maximum and sum; a second pass (from cache) only for the gradient.
#include "ops/log_softmax.h"

#include "backend/cuda/launch.cuh"
#include "backend/cuda/softmax.cuh"

namespace vpref::cuda {
namespace {

template <class X>
__global__ void __launch_bounds__(kRowThreads)
    log_softmax_kernel(X* logits, const int32_t* target, float* logp, int64_t v, int64_t stride, bool to_gradient,
                       bool wide) {
  __shared__ float shared[32];
  X* row = logits + blockIdx.x * stride;
  const int64_t id = target[blockIdx.x];
  const bool inside = id >= 0 && id < v;
  const float picked = inside ? load_f32(row + id) : NAN;
  const RowSum s = row_sum(row, v, wide, shared);  // its barriers delay writes until every thread has read `picked`
  if (threadIdx.x == 0) logp[blockIdx.x] = picked - s.max - logf(s.sum);
  if (!to_gradient) return;
  const float scale = -1.0f / s.sum;
  for (int64_t col = int64_t(threadIdx.x) * kGroup; col < v; col += int64_t(blockDim.x) * kGroup) {
    float p[kGroup];
    load_group(row + col, v - col, wide, p);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) p[i] = scale * expf(p[i] - s.max) + (col + i == id ? 1.0f : 0.0f);
    store_group(row + col, v - col, wide, p);
  }
}

}  // namespace

void log_softmax_gather(Context& ctx, const Tensor& logits, const Tensor& target, const Tensor& logp,
                        bool to_gradient) {
  with_activation_type("log_softmax_gather", logits.dtype, [&](auto* t) {
    using X = std::remove_pointer_t<decltype(t)>;
    launch(log_softmax_kernel<X>, unsigned(logits.dim(0)), threads_for_vocabulary(logits.dim(1)), 0, stream_of(ctx),
           logits.as<X>(), target.as<int32_t>(), logp.as<float>(), logits.dim(1), logits.stride[0], to_gradient,
           wide_rows(logits));
  });
}

}  // namespace vpref::cuda
