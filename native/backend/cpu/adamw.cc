// SPDX-License-Identifier: Apache-2.0
#include "ops/adamw.h"

#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"

namespace vpref::cpu {

void adamw(Context& ctx, const AdamW& options, const Tensor& param, const Tensor& grad, const Tensor& m,
           const Tensor& v, const Tensor* copy) {
  const Kernels& k = kernels();
  const int64_t n = param.dim(0);
  parallel_ranges(threads_for(ctx, n, 1), n, 64, [&](int, int64_t begin, int64_t end) {
    k.adamw(options, param.as<float>() + begin, grad.as<float>() + begin, m.as<float>() + begin, v.as<float>() + begin,
            copy ? copy->as<bf16_t>() + begin : nullptr, end - begin);
  });
}

double sum_of_squares(Context& ctx, const Tensor& x) {
  constexpr int64_t kBlock = 65536;
  const Kernels& k = kernels();
  const int64_t n = x.dim(0), blocks = (n + kBlock - 1) / kBlock;
  double* part = static_cast<double*>(ctx.workspace.get(size_t(blocks) * sizeof(double)));
  parallel_ranges(threads_for(ctx, blocks, kBlock), blocks, 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      part[b] = k.sum_squares_f64(x.as<float>() + b * kBlock, std::min(kBlock, n - b * kBlock));
  });
  double total = 0;
  for (int64_t b = 0; b < blocks; ++b) total += part[b];
  return total;
}

}  // namespace vpref::cpu
