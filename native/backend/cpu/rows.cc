// SPDX-License-Identifier: Apache-2.0
#include "ops/rows.h"

#include <cstring>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {

namespace {

// Copies row `from` of x to row `to` of y, converted if the dtypes differ. scratch: kPiece floats.
void copy_row(const Kernels& k, const Tensor& x, int64_t from, const Tensor& y, int64_t to, float* scratch) {
  const int64_t d = x.dim(1);
  if (x.dtype == y.dtype) {
    std::memcpy(row_address(y, to), row_address(x, from), size_t(d) * dtype_size(x.dtype));
    return;
  }
  for (int64_t c = 0; c < d; c += kPiece) {
    const int64_t n = std::min(kPiece, d - c);
    k.from_f32(read_row(k, x, from, c, n, scratch), row_address(y, to, c), y.dtype, n);
  }
}

// Calls copy(i, scratch) for every i with index[i] != -1.
template <class Copy>
void for_rows(Context& ctx, const Tensor& index, int64_t width, Copy copy) {
  const int32_t* at = index.as<int32_t>();
  const int threads = threads_for(ctx, index.dim(0), width);
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads) * kPiece * sizeof(float)));
  parallel_ranges(threads, index.dim(0), 1, [&](int thread, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (at[i] >= 0) copy(i, at[i], scratch + thread * kPiece);
    }
  });
}

}  // namespace

void gather_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y) {
  const Kernels& k = kernels();
  for_rows(ctx, index, x.dim(1), [&](int64_t i, int64_t at, float* scratch) { copy_row(k, x, at, y, i, scratch); });
}

void scatter_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y) {
  const Kernels& k = kernels();
  for_rows(ctx, index, x.dim(1), [&](int64_t i, int64_t at, float* scratch) { copy_row(k, x, i, y, at, scratch); });
}

// Columns are split over threads, so that repeated indices are added in order of i.
void scatter_add_rows(Context& ctx, const Tensor& x, const Tensor& index, const Tensor& y) {
  const Kernels& k = kernels();
  const int64_t d = x.dim(1);
  const int32_t* to = index.as<int32_t>();
  const int threads = threads_for(ctx, (d + 63) / 64, 64 * x.dim(0));
  float* scratch = static_cast<float*>(ctx.workspace.get(size_t(threads) * 2 * kPiece * sizeof(float)));
  parallel_ranges(threads, d, 64, [&](int thread, int64_t begin, int64_t end) {
    float* mine = scratch + thread * 2 * kPiece;
    for (int64_t i = 0; i < x.dim(0); ++i) {
      if (to[i] < 0) continue;
      for (int64_t c = begin; c < end; c += kPiece) {
        const int64_t n = std::min(kPiece, end - c);
        float* sum = const_cast<float*>(read_row(k, y, to[i], c, n, mine));
        k.add_scaled(read_row(k, x, i, c, n, mine + kPiece), 1.0f, sum, n);
        finish_row(k, y, to[i], c, n, sum);
      }
    }
  });
}

}  // namespace vpref::cpu
