// SPDX-License-Identifier: Apache-2.0
// Few rows stream the weights once. More go through panels: a block of weights, packed, stays in the second-level cache
// while the rows of x pass by it, a panel of them at a time in the first. Both sum an element in the same order
// (ProductKernels).
#include "backend/cpu/row_products.h"

#include <algorithm>

#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "core/arena.h"

namespace vpref::cpu {
namespace {

constexpr int64_t kFewRows = 8;  // of x that one pass over a weight row serves

struct Product {
  const Tensor &x, &weight;
  const float* bias;
  const Tensor& y;
  float alpha, beta;
  int64_t rows() const { return x.dim(0); }
  int64_t cols() const { return weight.dim(0); }
  int64_t k() const { return weight.dim(1); }
  bool direct() const { return y.dtype == DType::f32 && alpha == 1.0f && beta == 0.0f && !bias; }
};

// Columns [begin, end) of row t of y from their sums.
void finish_sums(const Kernels& k, const Product& p, const float* sums, int64_t t, int64_t begin, int64_t end) {
  alignas(64) float piece[kPiece], old[kPiece];
  for (int64_t c = begin; c < end; c += kPiece) {
    const int64_t n = std::min(kPiece, end - c);
    std::copy_n(sums + c - begin, n, piece);
    if (p.alpha != 1.0f) k.scale(p.alpha, piece, n);
    if (p.bias) k.add_scaled(p.bias + c, 1.0f, piece, n);
    if (p.beta != 0.0f) k.add_scaled(read_row(k, p.y, t, c, n, old), p.beta, piece, n);
    k.from_f32(piece, row_address(p.y, t, c), p.y.dtype, n);
  }
}

// Each thread has its own part of the weights.
void stream_weights(Context& ctx, const Kernels& k, const ProductKernels& kernel, const Product& p) {
  const int64_t rows = p.rows(), n = p.cols(), depth = p.k(), wide = padded(depth);
  const bool converts = p.x.dtype != DType::f32 && kernel.size == sizeof(float), direct = p.direct();
  const size_t input = converts ? aligned(size_t(rows * wide) * sizeof(float)) : 0;
  char* memory =
      static_cast<char*>(ctx.workspace.get(input + (direct ? 0 : aligned(size_t(rows * n) * sizeof(float)))));
  if (converts)
    for (int64_t t = 0; t < rows; ++t)
      k.to_f32(row_address(p.x, t), p.x.dtype, reinterpret_cast<float*>(memory) + t * wide, depth);
  const char* in = converts ? memory : static_cast<const char*>(p.x.data);
  const int64_t ldx = converts ? wide : p.x.stride[0];
  float* out = direct ? p.y.as<float>() : reinterpret_cast<float*>(memory + input);
  const int64_t ldy = direct ? p.y.stride[0] : n;
  parallel_ranges(threads_for(ctx, (n + 15) / 16, 16 * depth), n, 16, [&](int, int64_t begin, int64_t end) {
    // Rows beyond one pass find the weights in cache: a few weight rows at a time.
    const int64_t step = rows > kFewRows ? 16 : end - begin;
    for (int64_t n0 = begin; n0 < end; n0 += step)
      for (int64_t t = 0; t < rows; t += kFewRows)
        kernel.few(in + t * ldx * int64_t(kernel.size), ldx, int(std::min(kFewRows, rows - t)), p.weight.data,
                   p.weight.dtype, p.weight.stride[0], depth, n0, std::min(end, n0 + step), out + t * ldy, ldy);
    if (!direct)
      for (int64_t t = 0; t < rows; ++t) finish_sums(k, p, out + t * n + begin, t, begin, end);
  });
}

// How the work is cut: blocks of columns, and of panels of rows where there are not columns enough to share out.
struct Cut {
  int64_t cols, col_blocks, panels, row_blocks;
  Cut(const Context& ctx, const ProductKernels& kernel, const Product& p) {
    constexpr int64_t kBlockBytes = 384 << 10, kMostCols = 128, kMostRows = 256, kShares = 4;
    const int64_t depth = std::min(kernel.depth, (p.k() + kernel.step - 1) / kernel.step * kernel.step),
                  threads = std::max(ctx.num_threads, 1);
    const int64_t most = std::clamp<int64_t>(kBlockBytes / (depth * int64_t(kernel.size)), 16, kMostCols);
    const int64_t needed = (p.cols() + most - 1) / most, even = (needed + threads - 1) / threads * threads;
    const int64_t wanted = p.cols() / even >= 32 ? even : needed;
    cols = ((p.cols() + wanted - 1) / wanted + kernel.cols - 1) / kernel.cols * kernel.cols;
    col_blocks = (p.cols() + cols - 1) / cols;
    panels = (p.rows() + kernel.rows - 1) / kernel.rows;
    row_blocks =
        p.direct() ? 1 : (p.rows() + kMostRows - 1) / kMostRows;  // else the sums of a block wait for the end of k
    if (col_blocks % threads != 0) row_blocks = std::max(row_blocks, (kShares * threads + col_blocks - 1) / col_blocks);
    row_blocks = std::min(row_blocks, panels);
  }
  int64_t first_panel(int64_t row_block) const { return panels * row_block / row_blocks; }
  int64_t most_rows(const ProductKernels& kernel) const {
    return ((panels + row_blocks - 1) / row_blocks) * kernel.rows;
  }
};

// One thread's panels and, where y takes more than the bare sums, its sums.
struct Scratch {
  char *weights, *x;
  float* sums;
};

// Rows of panel i: as even as can be.
int64_t panel_row(const Product& p, const Cut& cut, int64_t i) { return p.rows() * i / cut.panels; }

// One panel of x against all of a block's columns [n0, n1): to[t, n - n0].
void multiply_panel(const ProductKernels& kernel, int rows, const Scratch& s, int64_t depth, int64_t padded_depth,
                    int64_t cols, float* to, int64_t ldy, bool accumulate) {
  const int64_t width = kernel.cols;
  int64_t n = 0;
  for (; n + width <= cols; n += width)
    kernel.tile(rows, s.x, s.weights + n * padded_depth * int64_t(kernel.size), depth, to + n, ldy, accumulate);
  if (n == cols) return;
  alignas(64) float edge[16 * 4];
  kernel.tile(rows, s.x, s.weights + n * padded_depth * int64_t(kernel.size), depth, edge, width, false);
  for (int t = 0; t < rows; ++t)
    for (int64_t c = n; c < cols; ++c)
      to[t * ldy + c] = accumulate ? to[t * ldy + c] + edge[t * width + c - n] : edge[t * width + c - n];
}

void multiply_block(const Kernels& k, const ProductKernels& kernel, const Product& p, const Cut& cut, int64_t item,
                    int64_t& packed, const Scratch& s) {
  const int64_t block = item / cut.row_blocks, share = item % cut.row_blocks;
  const int64_t n0 = block * cut.cols, n1 = std::min(p.cols(), n0 + cut.cols);
  const int64_t q0 = cut.first_panel(share), q1 = cut.first_panel(share + 1), r0 = panel_row(p, cut, q0);
  const bool direct = p.direct();
  float* out = direct ? reinterpret_cast<float*>(row_address(p.y, r0, n0)) : s.sums;
  const int64_t ldy = direct ? p.y.stride[0] : cut.cols;
  for (int64_t first = 0; first < p.k(); first += kernel.depth) {
    const int64_t depth = std::min(kernel.depth, p.k() - first),
                  wide = (depth + kernel.step - 1) / kernel.step * kernel.step;
    if (packed != block || p.k() > kernel.depth)
      for (int64_t n = n0; n < n1; n += kernel.cols)
        kernel.pack(row_address(p.weight, n, first), p.weight.dtype, p.weight.stride[0],
                    int(std::min<int64_t>(kernel.cols, n1 - n)), kernel.cols, depth,
                    s.weights + (n - n0) * wide * int64_t(kernel.size));
    packed = block;
    for (int64_t q = q0; q < q1; ++q) {
      const int64_t row = panel_row(p, cut, q);
      const int rows = int(panel_row(p, cut, q + 1) - row);
      kernel.pack(row_address(p.x, row, first), p.x.dtype, p.x.stride[0], rows, rows, depth, s.x);
      multiply_panel(kernel, rows, s, depth, wide, n1 - n0, out + (row - r0) * ldy, ldy, first > 0);
    }
  }
  if (direct) return;
  for (int64_t row = r0; row < panel_row(p, cut, q1); ++row)
    finish_sums(k, p, s.sums + (row - r0) * cut.cols, row, n0, n1);
}

void multiply_panels(Context& ctx, const Kernels& k, const ProductKernels& kernel, const Product& p) {
  const Cut cut(ctx, kernel, p);
  const int64_t items = cut.col_blocks * cut.row_blocks, depth = std::min(kernel.depth, p.k() + kernel.step);
  const int threads = threads_for(ctx, items, p.rows() * cut.cols / cut.row_blocks * p.k());
  const size_t weights = aligned(size_t(cut.cols * depth) * kernel.size),
               x = aligned(size_t(kernel.rows * depth) * kernel.size);
  const size_t sums = p.direct() ? 0 : aligned(size_t(cut.most_rows(kernel) * cut.cols) * sizeof(float));
  char* memory = static_cast<char*>(ctx.workspace.get(size_t(threads) * (weights + x + sums)));
  parallel_ranges(threads, items, 1, [&](int thread, int64_t begin, int64_t end) {
    char* mine = memory + size_t(thread) * (weights + x + sums);
    int64_t packed = -1;
    for (int64_t i = begin; i < end; ++i)
      multiply_block(k, kernel, p, cut, i, packed,
                     {mine, mine + weights, reinterpret_cast<float*>(mine + weights + x)});
  });
}

}  // namespace

void row_products(Context& ctx, const Tensor& x, const Tensor& weight, const float* bias, const Tensor& y, float alpha,
                  float beta) {
  const Kernels& k = kernels();
  const bool pairs = k.product_bf16 && x.dtype == DType::bf16 && weight.dtype != DType::f32;
  const ProductKernels& kernel = pairs ? *k.product_bf16 : k.product;
  const Product p{x, weight, bias, y, alpha, beta};
  if (p.k() == 0 || p.rows() <= kFewRows) return stream_weights(ctx, k, kernel, p);
  multiply_panels(ctx, k, kernel, p);
}

}  // namespace vpref::cpu
