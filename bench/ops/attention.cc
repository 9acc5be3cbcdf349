// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.h"

#include "bench.h"

namespace vpref::bench {
namespace {

void causal(Context& ctx, DType dtype, int64_t t, int64_t heads, int64_t d) {
  const Data q(dtype, {t, heads, d}), k(dtype, {t, heads, d}), v(dtype, {t, heads, d}), out(dtype, {t, heads, d}),
      lse(DType::f32, {t, heads});
  AttentionPlan plan;
  plan.spans = {{0, int32_t(t), 0, 1, true}};
  plan.ranges = {{0, int32_t(t)}};
  const std::string shape =
      std::to_string(heads) + " heads x " + std::to_string(t) + " x " + std::to_string(d) + " causal";
  const double flops = 4.0 * double(heads * t * t * d);  // counted whole, as for an unmasked product
  const double s =
      median_seconds([&] { attention(ctx, {q.view(), k.view(), v.view()}, plan, 0.1f, {out.view(), lse.view()}); });
  report(ctx, {"attention", shape, dtype_name(dtype), s, flops, 0});
  const Data dout(dtype, {t, heads, d}), dq(dtype, {t, heads, d}), dk(dtype, {t, heads, d}), dv(dtype, {t, heads, d});
  const double b = median_seconds([&] {
    attention_backward(ctx, dout.view(), {q.view(), k.view(), v.view()}, {out.view(), lse.view()}, plan, 0.1f,
                       {dq.view(), dk.view(), dv.view()});
  });
  report(ctx, {"attention_backward", shape, dtype_name(dtype), b, 2.5 * flops, 0});
}

void decode(Context& ctx, DType dtype, int64_t branches, int64_t prefix, int64_t heads, int64_t d) {
  const int64_t own = 30, rows = prefix + branches * own;
  const Data q(dtype, {branches, heads, d}), k(dtype, {rows, heads, d}), v(dtype, {rows, heads, d}),
      out(dtype, {branches, heads, d});
  AttentionPlan plan;
  plan.paths = {{-1, 0, int32_t(prefix)}};
  for (int32_t b = 0; b < int32_t(branches); ++b) {
    plan.spans.push_back({b, 1, 2 * b, 2, true, 0});
    plan.ranges.push_back({0, int32_t(prefix)});
    plan.ranges.push_back({int32_t(prefix + b * own), int32_t(own)});
  }
  const double s =
      median_seconds([&] { attention(ctx, {q.view(), k.view(), v.view()}, plan, 0.1f, {out.view()}); }, 0.3);
  report(ctx, {"attention decode", std::to_string(branches) + " branches on " + std::to_string(prefix),
               dtype_name(dtype), s, 0, double(2 * rows * heads * d) * double(dtype_size(dtype))});
}

}  // namespace

void bench_attention(Context& ctx) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    causal(ctx, dtype, 700, 32, 128);
    causal(ctx, dtype, 336, 12, 64);
    decode(ctx, dtype, 1, 700, 32, 128);
    decode(ctx, dtype, 8, 700, 32, 128);
  }
}

}  // namespace vpref::bench
