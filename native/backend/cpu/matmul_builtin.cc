// SPDX-License-Identifier: Apache-2.0
// Blocked product over packed panels (Goto & van de Geijn 2008). Packing converts any dtype to f32, in the order in
// which the micro-kernel reads.
#include <algorithm>
#include <cstring>

#include "backend/cpu/kernels.h"
#include "backend/cpu/matmul.h"
#include "backend/cpu/parallel.h"
#include "core/arena.h"

namespace vpref::cpu {
namespace {

constexpr int64_t kDepth = 384;  // depth of a panel along k: one panel of a and one of b fit into the first-level cache
constexpr int64_t kColumns = 3072;  // columns of b packed at a time
constexpr int64_t kRows = 1536;     // rows of a packed at a time

struct Sizes {
  int64_t rows, columns, depth;  // of one block, padded to whole panels
};

Sizes sizes_of(const Kernels& k, const Matmul& p) {
  const auto up = [](int64_t n, int64_t step) { return (n + step - 1) / step * step; };
  return {up(std::min(p.m, kRows), k.tile_rows), up(std::min(p.n, kColumns), k.tile_cols),
          std::min(std::max<int64_t>(p.k, 1), kDepth)};
}

const char* element(const void* base, DType dtype, int64_t index) {
  return static_cast<const char*>(base) + index * int64_t(dtype_size(dtype));
}

float value_at(const void* base, DType dtype, int64_t index) {
  if (dtype == DType::f32) return static_cast<const float*>(base)[index];
  if (dtype == DType::bf16) return to_f32(static_cast<const bf16_t*>(base)[index]);
  return to_f32(static_cast<const f16_t*>(base)[index]);
}

// An operand from its first packed element: (i, p) is x[i * outer + p * inner], p along k.
struct Operand {
  const void* x;
  DType dtype;
  int64_t outer, inner;
  float alpha;
};

// panel[p * width + i] = alpha * operand (i, p) for i < count, 0 for i in [count, width); p < depth.
void pack_panel(const Kernels& k, const Operand& from, int64_t count, int64_t width, int64_t depth, float* panel) {
  const auto [x, dtype, outer, inner, alpha] = from;
  if (count < width) std::memset(panel, 0, size_t(depth * width) * sizeof(float));
  if (outer == 1) {  // the panel's rows are adjacent already
    for (int64_t p = 0; p < depth; ++p) {
      k.to_f32(element(x, dtype, p * inner), dtype, panel + p * width, count);
      if (alpha != 1.0f) k.scale(alpha, panel + p * width, count);
    }
    return;
  }
  if (inner == 1) {  // transposes, one converted strip at a time
    constexpr int64_t kStrip = 64, kAtOnce = 16;
    alignas(64) float strip[kAtOnce][kStrip];
    for (int64_t i = 0; i < count; i += kAtOnce)
      for (int64_t p = 0; p < depth; p += kStrip) {
        const int64_t n = std::min(kStrip, depth - p), rows = std::min(kAtOnce, count - i);
        for (int64_t r = 0; r < rows; ++r) {
          k.to_f32(element(x, dtype, (i + r) * outer + p), dtype, strip[r], n);
          if (alpha != 1.0f) k.scale(alpha, strip[r], n);
        }
        for (int64_t j = 0; j < n; ++j)
          for (int64_t r = 0; r < rows; ++r) panel[(p + j) * width + i + r] = strip[r][j];
      }
    return;
  }
  for (int64_t p = 0; p < depth; ++p)
    for (int64_t i = 0; i < count; ++i) panel[p * width + i] = alpha * value_at(x, dtype, i * outer + p * inner);
}

// Computes one block of c, of this size, from packed operands.
void multiply(const Context& ctx, const Kernels& k, const float* a, const float* b, const Sizes& size, Rows<float> c,
              bool accumulate) {
  const int64_t m = size.rows, n = size.columns, depth = size.depth;
  const int64_t mr = k.tile_rows, nr = k.tile_cols;
  const int64_t row_panels = (m + mr - 1) / mr, column_panels = (n + nr - 1) / nr;
  const int64_t row_group = 8, column_group = std::max<int64_t>(
                                   1, std::min<int64_t>(8, column_panels / (2 * std::max(ctx.num_threads, 1))));
  const int64_t groups_down = (row_panels + row_group - 1) / row_group;
  const int64_t groups = groups_down * ((column_panels + column_group - 1) / column_group);
  parallel_items(threads_for(ctx, groups, row_group * column_group * mr * depth), groups, [&](int, int64_t item) {
    const int64_t i0 = item % groups_down * row_group, j0 = item / groups_down * column_group;
    for (int64_t j = j0; j < std::min(column_panels, j0 + column_group); ++j)
      for (int64_t i = i0; i < std::min(row_panels, i0 + row_group); ++i) {
        const int64_t rows = std::min(mr, m - i * mr), columns = std::min(nr, n - j * nr);
        const float* panel_a = a + i * mr * depth;
        const float* panel_b = b + j * nr * depth;
        float* to = c.data + i * mr * c.stride + j * nr;
        if (columns == nr) {
          k.gemm_tile(rows, nr, depth, {panel_a, 1, mr}, {panel_b, nr}, {to, c.stride}, accumulate);
          continue;
        }
        alignas(64) float edge[16 * 64];
        k.gemm_tile(rows, nr, depth, {panel_a, 1, mr}, {panel_b, nr}, {edge, nr}, false);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t s = 0; s < columns; ++s)
            to[r * c.stride + s] = (accumulate ? to[r * c.stride + s] : 0.0f) + edge[r * nr + s];
      }
  });
}

}  // namespace

size_t matmul_builtin_bytes(const Context&, const Matmul& p) {
  const Sizes s = sizes_of(kernels(), p);
  const size_t output = p.c_dtype == DType::f32 ? 0 : aligned(size_t(s.rows * s.columns) * sizeof(float));
  return aligned(size_t(s.rows * s.depth) * sizeof(float)) + aligned(size_t(s.columns * s.depth) * sizeof(float)) +
         output;
}

void matmul_builtin(Context& ctx, const Matmul& p, void* scratch) {
  const Kernels& k = kernels();
  const Sizes s = sizes_of(k, p);
  float* a = static_cast<float*>(scratch);
  float* b = a + aligned(size_t(s.rows * s.depth) * sizeof(float)) / sizeof(float);
  float* wide = b + aligned(size_t(s.columns * s.depth) * sizeof(float)) / sizeof(float);
  const int64_t mr = k.tile_rows, nr = k.tile_cols;
  for (int64_t j0 = 0; j0 < p.n; j0 += s.columns) {
    const int64_t n = std::min(s.columns, p.n - j0);
    for (int64_t i0 = 0; i0 < p.m; i0 += s.rows) {
      const int64_t m = std::min(s.rows, p.m - i0);
      const bool direct = p.c_dtype == DType::f32;
      float* c = direct ? static_cast<float*>(p.c) + i0 * p.c_row + j0 : wide;
      const int64_t ldc = direct ? p.c_row : n;
      // c starts as beta c; products are added.
      const bool starts = p.beta != 0.0f || p.k == 0;
      if (starts && !(direct && p.beta == 1.0f))
        parallel_ranges(threads_for(ctx, m, n), m, 1, [&](int, int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            float* row = c + i * ldc;
            if (p.beta == 0.0f)
              std::fill(row, row + n, 0.0f);
            else {
              k.to_f32(element(p.c, p.c_dtype, (i0 + i) * p.c_row + j0), p.c_dtype, row, n);
              if (p.beta != 1.0f) k.scale(p.beta, row, n);
            }
          }
        });
      for (int64_t p0 = 0; p0 < p.k; p0 += s.depth) {
        const int64_t depth = std::min(s.depth, p.k - p0);
        const int64_t row_panels = (m + mr - 1) / mr, column_panels = (n + nr - 1) / nr;
        parallel_ranges(threads_for(ctx, row_panels + column_panels, depth * nr), row_panels + column_panels, 1,
                        [&](int, int64_t begin, int64_t end) {
                          for (int64_t i = begin; i < end; ++i) {
                            if (i < row_panels) {
                              const void* from = element(p.a, p.a_dtype, (i0 + i * mr) * p.a_row + p0 * p.a_col);
                              pack_panel(k, {from, p.a_dtype, p.a_row, p.a_col, p.alpha}, std::min(mr, m - i * mr), mr,
                                         depth, a + i * mr * depth);
                            } else {
                              const int64_t j = i - row_panels;
                              const void* from = element(p.b, p.b_dtype, (j0 + j * nr) * p.b_col + p0 * p.b_row);
                              pack_panel(k, {from, p.b_dtype, p.b_col, p.b_row, 1.0f}, std::min(nr, n - j * nr), nr,
                                         depth, b + j * nr * depth);
                            }
                          }
                        });
        multiply(ctx, k, a, b, {m, n, depth}, {c, ldc}, starts || p0 > 0);
      }
      if (!direct)
        parallel_ranges(threads_for(ctx, m, n), m, 1, [&](int, int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            k.from_f32(c + i * ldc, const_cast<char*>(element(p.c, p.c_dtype, (i0 + i) * p.c_row + j0)), p.c_dtype, n);
        });
    }
  }
}

}  // namespace vpref::cpu
