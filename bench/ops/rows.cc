// SPDX-License-Identifier: Apache-2.0
// The ops that memory bandwidth bounds.
#include "bench.h"
#include "ops/adamw.h"
#include "ops/gelu.h"
#include "ops/log_softmax.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/swiglu.h"

namespace vpref::bench {

void bench_rows(Context& ctx) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const double size = double(dtype_size(dtype));
    const int64_t t = 700, d = 4096, f = 11008;
    const Data x(dtype, {t, d}), y(dtype, {t, d}), w(dtype, {d}), gate(dtype, {t, f}), up(dtype, {t, f});
    report(ctx, {"rms_norm", "700x4096", dtype_name(dtype),
                 median_seconds([&] { rms_norm(ctx, x.view(), w.view(), 1e-5f, y.view(), nullptr); }, 0.2), 0,
                 2 * size * double(t * d)});
    report(ctx,
           {"swiglu", "700x11008", dtype_name(dtype),
            median_seconds([&] { swiglu(ctx, gate.view(), up.view(), up.view()); }, 0.2), 0, 3 * size * double(t * f)});
    report(ctx,
           {"gelu exact", "700x4096", dtype_name(dtype),
            median_seconds([&] { gelu(ctx, Gelu::exact, x.view(), y.view()); }, 0.2), 0, 2 * size * double(t * d)});
    std::vector<int32_t> positions(t);
    for (int64_t i = 0; i < t; ++i) positions[size_t(i)] = int32_t(i);
    Data frequencies(DType::f32, {64});
    const Tensor heads(x.view().data, dtype, {t, 32, 128}), at(positions.data(), DType::i32, {1, t});
    report(ctx,
           {"rope", "700x32x128", dtype_name(dtype),
            median_seconds([&] { rope(ctx, heads, {at, frequencies.view(), {}}); }, 0.2), 0, 2 * size * double(t * d)});
    std::vector<int32_t> three(size_t(3 * t), 1), axis(64);
    for (size_t i = 0; i < axis.size(); ++i) axis[i] = int32_t(i % 3);
    const Rotation axes{Tensor(three.data(), DType::i32, {3, t}), frequencies.view(),
                        Tensor(axis.data(), DType::i32, {64})};
    report(ctx, {"rope, 3 axes", "700x32x128", dtype_name(dtype), median_seconds([&] { rope(ctx, heads, axes); }, 0.2),
                 0, 2 * size * double(t * d)});
    const int64_t r = 60, v = 32000;
    const Data logits(dtype, {r, v}), logp(DType::f32, {r});
    std::vector<int32_t> target(r, 7);
    const Tensor ids(target.data(), DType::i32, {r});
    report(ctx, {"log_softmax_gather", "60x32000", dtype_name(dtype),
                 median_seconds([&] { log_softmax_gather(ctx, logits.view(), ids, logp.view()); }, 0.2), 0,
                 size * double(r * v)});
  }
  const int64_t n = 1 << 25;
  const Data p(DType::f32, {n}), g(DType::f32, {n}), m(DType::f32, {n}), v(DType::f32, {n}), copy(DType::bf16, {n});
  for (int64_t i = 0; i < n; ++i) v.view().as<float>()[i] *= v.view().as<float>()[i];
  const AdamW options{.lr = 1e-4, .step = 10};
  report(ctx, {"adamw", std::to_string(n), "f32",
               median_seconds([&] { adamw(ctx, options, p.view(), g.view(), m.view(), v.view(), &copy.view()); }, 0.3),
               0, 30.0 * double(n)});
  report(ctx, {"sum_of_squares", std::to_string(n), "f32", median_seconds([&] { sum_of_squares(ctx, g.view()); }, 0.2),
               0, 4.0 * double(n)});
}

}  // namespace vpref::bench
