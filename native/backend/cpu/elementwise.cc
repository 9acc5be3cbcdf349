// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise.h"

#include <algorithm>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {
namespace {

// body(thread, row, column, n) over all row parts of a [T,D] tensor.
template <class Body>
void for_pieces(Context& ctx, const Tensor& x, Body body) {
  const int64_t d = x.dim(1), pieces = (d + kPiece - 1) / kPiece;
  const int threads = threads_for(ctx, x.dim(0) * pieces, std::min(d, kPiece));
  parallel_ranges(threads, x.dim(0) * pieces, 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t c = i % pieces * kPiece;
      body(i / pieces, c, std::min(kPiece, d - c));
    }
  });
}

}  // namespace

void add(Context& ctx, const Tensor& x_any, const Tensor& y_any, float alpha) {
  const Kernels& k = kernels();
  const Tensor x = as_matrix(x_any), y = as_matrix(y_any);
  for_pieces(ctx, x, [&](int64_t t, int64_t c, int64_t n) {
    alignas(64) float a[kPiece], b[kPiece];
    float* sum = const_cast<float*>(read_row(k, y, t, c, n, b));
    k.add_scaled(read_row(k, x, t, c, n, a), alpha, sum, n);
    finish_row(k, y, t, c, n, sum);
  });
}

void convert(Context& ctx, const Tensor& x_any, const Tensor& y_any) {
  const Kernels& k = kernels();
  const Tensor x = as_matrix(x_any), y = as_matrix(y_any);
  for_pieces(ctx, x, [&](int64_t t, int64_t c, int64_t n) {
    alignas(64) float a[kPiece];
    k.from_f32(read_row(k, x, t, c, n, a), row_address(y, t, c), y.dtype, n);
  });
}

void scale_rows(Context& ctx, const Tensor& row_scale, const Tensor& x) {
  const Kernels& k = kernels();
  for_pieces(ctx, x, [&](int64_t t, int64_t c, int64_t n) {
    alignas(64) float a[kPiece];
    float* row = const_cast<float*>(read_row(k, x, t, c, n, a));
    k.scale(row_scale.as<float>()[t], row, n);
    finish_row(k, x, t, c, n, row);
  });
}

void fill(Context& ctx, float value, const Tensor& x) {
  const int64_t n = x.numel();
  const bf16_t narrow = to_bf16(value);
  parallel_ranges(threads_for(ctx, n, 1), n, 64, [&](int, int64_t begin, int64_t end) {
    if (x.dtype == DType::f32)
      std::fill(x.as<float>() + begin, x.as<float>() + end, value);
    else
      std::fill(x.as<bf16_t>() + begin, x.as<bf16_t>() + end, narrow);
  });
}

}  // namespace vpref::cpu
