// SPDX-License-Identifier: Apache-2.0
#include "ops/gemm.h"

#include "backend/cpu/matmul.h"
#include "bench.h"

namespace vpref::bench {
namespace {

void one(Context& ctx, int64_t t, int64_t k, int64_t n, DType x_dtype, DType w_dtype) {
  const Data x(x_dtype, {t, k}), w(w_dtype, {n, k}), y(x_dtype, {t, n});
  const double s = median_seconds([&] { linear(ctx, x.view(), w.view(), nullptr, y.view()); }, 0.3);
  const std::string shape = std::to_string(t) + "x" + std::to_string(k) + "x" + std::to_string(n) +
                            (w_dtype == x_dtype ? "" : std::string(" weight ") + dtype_name(w_dtype));
  report(ctx,
         {"linear", shape, dtype_name(x_dtype), s, 2.0 * double(t * k * n), t <= 16 ? double(w.view().bytes()) : 0});
}

// Weights read from memory, not from cache: one of several matrices in turn.
void streamed(Context& ctx, int64_t t, DType x_dtype, DType w_dtype) {
  const int64_t k = 4096, n = 4096, count = w_dtype == DType::f32 ? 6 : 12;
  const Data x(x_dtype, {t, k}), w(w_dtype, {n * count, k}), y(x_dtype, {t, n});
  const double s = median_seconds(
                       [&] {
                         for (int64_t i = 0; i < count; ++i)
                           linear(ctx, x.view(), w.view().rows(i * n, n), nullptr, y.view());
                       },
                       0.4) /
                   double(count);
  report(ctx, {"linear streamed", std::to_string(t) + "x4096x4096 weight " + dtype_name(w_dtype), dtype_name(x_dtype),
               s, 2.0 * double(t * k * n), double(n * k) * double(dtype_size(w_dtype))});
}

void built_in(Context& ctx, int64_t t, int64_t k, int64_t n) {
  const Data x(DType::f32, {t, k}), w(DType::f32, {n, k}), y(DType::f32, {t, n});
  const cpu::Matmul p{t,          n, k, x.view().data, DType::f32, k, 1, w.view().data,
                      DType::f32, 1, k, y.view().data, DType::f32, n, 1, 0};
  const double s =
      median_seconds([&] { cpu::matmul_builtin(ctx, p, ctx.workspace.get(cpu::matmul_builtin_bytes(ctx, p))); }, 0.3);
  report(ctx, {"built-in product", std::to_string(t) + "x" + std::to_string(k) + "x" + std::to_string(n), "f32", s,
               2.0 * double(t * k * n), 0});
}

}  // namespace

void bench_gemm(Context& ctx) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    one(ctx, 700, 4096, 4096, dtype, dtype);
    one(ctx, 336, 768, 3072, dtype, dtype);
    one(ctx, 100, 256, 1024, dtype, dtype);
    one(ctx, 336, 768, 3072, dtype, DType::f16);
    for (int64_t t : {12, 16, 24, 32}) one(ctx, t, 4096, 4096, dtype, dtype);
    for (int64_t t : {1, 2, 4, 8, 9, 16}) streamed(ctx, t, dtype, dtype);
    for (int64_t t : {1, 8, 16}) streamed(ctx, t, dtype, DType::f16);
    streamed(ctx, 1, DType::f32, DType::bf16);
  }
  built_in(ctx, 700, 4096, 4096);
  built_in(ctx, 336, 768, 3072);
  built_in(ctx, 16, 4096, 4096);
}

}  // namespace vpref::bench
