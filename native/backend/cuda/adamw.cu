// SPDX-License-Identifier: Apache-2.0
#include "ops/adamw.h"

#include <cmath>

#include "backend/cuda/groups.cuh"
#include "core/memory.h"

namespace vpref::cuda {
namespace {

// --- kernels
// ----------------------------------------------------------------------

struct Step {
  float *param, *m, *v;
  const float* grad;
  __nv_bfloat16* copy;
  float scale, keep, w1, b2, w2, root, eps, step;
  bool wide;
  __device__ void operator()(int64_t, int64_t col, int64_t count) const {
    float p[kGroup], g[kGroup], a[kGroup], b[kGroup];
    load_group(param + col, count, wide, p);
    load_group(grad + col, count, wide, g);
    load_group(m + col, count, wide, a);
    load_group(v + col, count, wide, b);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const float gradient = g[i] * scale;
      a[i] = fmaf(w1, gradient - a[i], a[i]);
      b[i] = fmaf(w2 * gradient, gradient, b[i] * b2);
      p[i] = p[i] * keep - step * (a[i] / fmaf(sqrtf(b[i]), root, eps));
    }
    store_group(param + col, count, wide, p);
    store_group(m + col, count, wide, a);
    store_group(v + col, count, wide, b);
    if (copy) store_group(copy + col, count, wide, p);
  }
};

constexpr int kThreads = 256;
constexpr int64_t kPart = 65536;  // elements per block

__device__ double block_sum_f64(double value, double* shared /* [32] */) {
  for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(0xffffffffu, value, step);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  value = 0;
  for (int w = 0; w < kThreads / 32; ++w) value += shared[w];
  return value;
}

__global__ void __launch_bounds__(kThreads) squares_kernel(const float* x, double* parts, int64_t n, bool wide) {
  __shared__ double shared[32];
  const int64_t begin = blockIdx.x * kPart, end = begin + kPart < n ? begin + kPart : n;
  double sum = 0;
  for (int64_t col = begin + int64_t(threadIdx.x) * kGroup; col < end; col += kThreads * kGroup) {
    float v[kGroup];
    load_group(x + col, end - col, wide, v);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) sum += double(v[i]) * double(v[i]);
  }
  sum = block_sum_f64(sum, shared);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) join_kernel(const double* parts, double* total, int64_t count) {
  __shared__ double shared[32];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += parts[i];
  sum = block_sum_f64(sum, shared);
  if (threadIdx.x == 0) *total = sum;
}

bool on_16_bytes(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace

// --- launchers
// ----------------------------------------------------------------------

void adamw(Context& ctx, const AdamW& o, const Tensor& param, const Tensor& grad, const Tensor& m, const Tensor& v,
           const Tensor* copy) {
  const double bias1 = 1.0 - std::pow(o.beta1, double(o.step)), bias2 = 1.0 - std::pow(o.beta2, double(o.step));
  Step step{};
  step.param = param.as<float>();
  step.grad = grad.as<float>();
  step.m = m.as<float>();
  step.v = v.as<float>();
  step.copy = copy ? copy->as<__nv_bfloat16>() : nullptr;
  step.scale = o.grad_scale;
  step.keep = float(1.0 - o.lr * o.weight_decay);
  step.w1 = float(1.0 - o.beta1);
  step.b2 = float(o.beta2);
  step.w2 = float(1.0 - o.beta2);
  step.root = float(1.0 / std::sqrt(bias2));
  step.eps = float(o.eps);
  step.step = float(o.lr / bias1);
  step.wide = on_16_bytes(param.data) && on_16_bytes(grad.data) && on_16_bytes(m.data) && on_16_bytes(v.data) &&
              on_16_bytes(step.copy);
  for_groups(ctx, 1, param.dim(0), step);
}

double sum_of_squares(Context& ctx, const Tensor& x) {
  const int64_t n = x.dim(0), parts = (n + kPart - 1) / kPart;
  double* memory = static_cast<double*>(ctx.workspace.get(size_t(parts + 1) * sizeof(double)));
  launch(squares_kernel, unsigned(parts), kThreads, 0, stream_of(ctx), x.as<float>(), memory + 1, n,
         on_16_bytes(x.data));
  launch(join_kernel, 1, kThreads, 0, stream_of(ctx), memory + 1, memory, parts);
  double total = 0;
  vpref::copy_to_host(ctx, &total, memory, sizeof total);
  return total;
}

}  // namespace vpref::cuda
