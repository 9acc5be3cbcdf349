// SPDX-License-Identifier: Apache-2.0
// For few rows, weights are streamed once. For more rows, weights are packed into panels: a block stays in the
// second-level cache, and panels of x pass through the first-level cache. Both sum an element in the same order
// (ProductKernels).
#include "backend/cpu/row_products.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/packed_products.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "core/arena.h"

namespace vpref::cpu {
namespace {

constexpr int64_t kMaxPasses = 2;  // passes over unpacked weights; for more rows packing is faster

// The weight of a product: one of the two.
struct Weight {
  const Tensor* dense;
  const PackedWeight* packed;
  int64_t rows() const { return packed ? packed->num_rows : dense->dim(0); }
  int64_t cols() const { return packed ? packed->num_cols : dense->dim(1); }
};

struct Product {
  const Tensor& x;
  const Weight weight;
  const float* bias;
  const Tensor& y;
  float alpha, beta;
  int64_t rows() const { return x.dim(0); }
  int64_t cols() const { return weight.rows(); }
  int64_t k() const { return weight.cols(); }
  bool in_place() const { return y.dtype == DType::f32 && beta == 0.0f; }  // y holds the sums
  bool bare() const { return alpha == 1.0f && beta == 0.0f && !bias; }     // y is the sums, unchanged
  bool direct() const { return in_place() && bare(); }
};

// Writes columns [begin, end) of row t of y from their sums.
void finish_sums(const Kernels& k, const Product& p, const float* sums, int64_t t, int64_t begin, int64_t end) {
  alignas(64) float piece[kPiece], old[kPiece];
  for (int64_t c = begin; c < end; c += kPiece) {
    const int64_t n = std::min(kPiece, end - c);
    if (p.bare()) {
      k.from_f32(sums + c - begin, row_address(p.y, t, c), p.y.dtype, n);
      continue;
    }
    std::copy_n(sums + c - begin, n, piece);
    if (p.alpha != 1.0f) k.scale(p.alpha, piece, n);
    if (p.bias) k.add_scaled(p.bias + c, 1.0f, piece, n);
    if (p.beta != 0.0f) k.add_scaled(read_row(k, p.y, t, c, n, old), p.beta, piece, n);
    k.from_f32(piece, row_address(p.y, t, c), p.y.dtype, n);
  }
}

// y[t, begin..end) for all rows, in passes over the weights.
void stream_dense(const ProductKernels& kernel, const Tensor& weight, Rows<const char> x, int64_t rows, int64_t begin,
                  int64_t end, Rows<float> y) {
  const WeightRows weights{weight.data, weight.dtype, weight.stride[0]};
  // With several passes, a few weight rows at a time, so that later passes find them in cache.
  const int64_t passes = (rows + kernel.skinny_rows - 1) / kernel.skinny_rows, step = passes > 1 ? 16 : end - begin;
  for (int64_t n0 = begin; n0 < end; n0 += step)
    for (int64_t pass = 0; pass < passes; ++pass) {
      const int64_t t = rows * pass / passes, count = rows * (pass + 1) / passes - t;
      kernel.skinny({x.data + t * x.stride * int64_t(kernel.size), x.stride}, int(count), weights, weight.dim(1), n0,
                    std::min(end, n0 + step), {y.data + t * y.stride, y.stride});
    }
}

// Each thread streams its own part of the weights.
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
  const int64_t cols = p.weight.packed ? kPackedCols : 16;  // columns per kernel call
  parallel_ranges(threads_for(ctx, (n + cols - 1) / cols, cols * depth), n, cols, [&](int, int64_t begin, int64_t end) {
    if (p.weight.packed) {
      packed_skinny(k, *p.weight.packed, {reinterpret_cast<const float*>(in), ldx}, rows, {begin, end - begin},
                    {out, ldy});
    } else {
      stream_dense(kernel, *p.weight.dense, {in, ldx}, rows, begin, end, {out, ldy});
    }
    if (!direct)
      for (int64_t t = 0; t < rows; ++t) finish_sums(k, p, out + t * n + begin, t, begin, end);
  });
}

// How the work is split: by blocks of columns, and by panels of rows if there are too few columns.
struct Cut {
  int64_t cols, col_blocks, panels, row_blocks;
  Cut(const Context& ctx, const ProductKernels& kernel, const Product& p) {
    constexpr int64_t kMaxCols = 128, kShares = 4;
    const int64_t threads = std::max(ctx.num_threads, 1);
    const int64_t needed = (p.cols() + kMaxCols - 1) / kMaxCols, even = (needed + threads - 1) / threads * threads;
    const int64_t wanted = p.cols() / even >= kernel.cols ? even : needed;
    cols = ((p.cols() + wanted - 1) / wanted + kernel.cols - 1) / kernel.cols * kernel.cols;
    col_blocks = (p.cols() + cols - 1) / cols;
    panels = (p.rows() + kernel.rows - 1) / kernel.rows;
    row_blocks = 1;
    if (col_blocks % threads != 0) row_blocks = (kShares * threads + col_blocks - 1) / col_blocks;
    row_blocks = std::min(row_blocks, panels);
  }
  int64_t first_panel(int64_t row_block) const { return panels * row_block / row_blocks; }
  int64_t max_rows(const ProductKernels& kernel) const {
    return ((panels + row_blocks - 1) / row_blocks) * kernel.rows;
  }
};

// One thread's panels of a block of weights and, if y cannot hold them, its sums.
struct Scratch {
  char* weights;
  float *sums, *scales;
  int64_t packed = -1;  // block of the current panels
  int64_t per_scale = 0;
};

// Rows of panel i; panels differ by at most one row.
int64_t panel_row(const Product& p, const Cut& cut, int64_t i) { return p.rows() * i / cut.panels; }

int64_t whole_steps(const ProductKernels& kernel, int64_t k) {
  return (k + kernel.step - 1) / kernel.step * kernel.step;
}

// Panels of `cols` weight rows, for `depth` elements of k.
struct WeightPanels {
  const char* data;
  int64_t depth, cols;
  const float* scales;  // of a panel: [depth / per_scale][kernel.cols]
  int64_t per_scale;    // elements of k that share a scale; 0: no scales
};

// One panel of x times one panel of weights.
void multiply_tile(const ProductKernels& kernel, int rows, const char* x, const WeightPanels& w, Rows<float> y,
                   bool accumulate) {
  if (w.per_scale == 0) return kernel.tile(rows, x, w.data, w.depth, nullptr, y, accumulate);
  const int64_t size = int64_t(kernel.size);
  const float* scales = w.scales;
  for (int64_t i = 0; i < w.depth; i += w.per_scale, scales += kernel.cols)
    kernel.tile(rows, x + i * rows * size, w.data + i * kernel.cols * size, std::min(w.per_scale, w.depth - i), scales,
                y, accumulate || i > 0);
}

// One panel of x times all columns of a block: y[t, 0..cols).
void multiply_panel(const ProductKernels& kernel, int rows, const char* x, const WeightPanels& w, Rows<float> y,
                    bool accumulate) {
  const int64_t width = kernel.cols, panel_bytes = w.depth * width * int64_t(kernel.size);
  WeightPanels panel = w;
  alignas(64) float edge[16 * 32];
  for (int64_t n = 0; n < w.cols; n += width, panel.data += panel_bytes, panel.scales += kMaxPanelScales) {
    const int64_t count = std::min(width, w.cols - n);
    const Rows<float> to{y.data + n, y.stride};
    if (count == width) {
      multiply_tile(kernel, rows, x, panel, to, accumulate);
      continue;
    }
    for (int t = 0; accumulate && t < rows; ++t) std::copy_n(to.data + t * to.stride, count, edge + t * width);
    multiply_tile(kernel, rows, x, panel, {edge, width}, accumulate);
    for (int t = 0; t < rows; ++t) std::copy_n(edge + t * width, count, to.data + t * to.stride);
  }
}

// Packs these rows of the weights, for these k. Returns how many k share a scale (pack_packed), or 0.
int64_t pack_weights(const Kernels& k, const ProductKernels& kernel, const Weight& weight, Range n, Range depth,
                     char* panel, float* scales) {
  if (weight.packed) return pack_packed(k, *weight.packed, n, depth, reinterpret_cast<float*>(panel), scales);
  const Tensor& w = *weight.dense;
  kernel.pack(row_address(w, n.first, depth.first), w.dtype, w.stride[0], int(n.count), kernel.cols, depth.count,
              panel);
  return 0;
}

// x: all panels, the depths of each in order.
void multiply_block(const Kernels& k, const ProductKernels& kernel, const Product& p, const Cut& cut, int64_t item,
                    const char* x, Scratch& s) {
  const int64_t block = item / cut.row_blocks, share = item % cut.row_blocks;
  const int64_t n0 = block * cut.cols, n1 = std::min(p.cols(), n0 + cut.cols);
  const int64_t q0 = cut.first_panel(share), q1 = cut.first_panel(share + 1), r0 = panel_row(p, cut, q0);
  const int64_t size = int64_t(kernel.size), wide = whole_steps(kernel, p.k());
  float* out = p.in_place() ? reinterpret_cast<float*>(row_address(p.y, r0, n0)) : s.sums;
  const int64_t ldy = p.in_place() ? p.y.stride[0] : cut.cols;
  for (int64_t first = 0; first < p.k(); first += kernel.depth) {
    const int64_t depth = std::min(kernel.depth, p.k() - first), padded_depth = whole_steps(kernel, depth);
    if (s.packed != block || p.k() > kernel.depth)
      for (int64_t n = n0; n < n1; n += kernel.cols)
        s.per_scale = pack_weights(k, kernel, p.weight, {n, std::min<int64_t>(kernel.cols, n1 - n)}, {first, depth},
                                   s.weights + (n - n0) * padded_depth * size,
                                   s.scales + (n - n0) / kernel.cols * kMaxPanelScales);
    s.packed = block;
    for (int64_t q = q0; q < q1; ++q) {
      const int64_t row = panel_row(p, cut, q);
      const int rows = int(panel_row(p, cut, q + 1) - row);
      multiply_panel(kernel, rows, x + (row * wide + rows * first) * size,
                     {s.weights, padded_depth, n1 - n0, s.scales, s.per_scale}, {out + (row - r0) * ldy, ldy},
                     first > 0);
      if (first + depth < p.k() || p.direct()) continue;
      for (int64_t t = row; t < row + rows; ++t) finish_sums(k, p, out + (t - r0) * ldy, t, n0, n1);
    }
  }
}

void multiply_panels(Context& ctx, const Kernels& k, const ProductKernels& kernel, const Product& p) {
  const Cut cut(ctx, kernel, p);
  const int64_t items = cut.col_blocks * cut.row_blocks, wide = whole_steps(kernel, p.k());
  const int threads = threads_for(ctx, items, p.rows() * cut.cols / cut.row_blocks * p.k());
  const size_t x_bytes = aligned(size_t(p.rows() * wide) * kernel.size);
  const size_t weights = aligned(size_t(cut.cols * std::min(kernel.depth, wide)) * kernel.size);
  const size_t sums = p.in_place() ? 0 : aligned(size_t(cut.max_rows(kernel) * cut.cols) * sizeof(float));
  const size_t scales = p.weight.packed ? aligned(size_t(cut.cols / kernel.cols * kMaxPanelScales) * sizeof(float)) : 0;
  const size_t each = weights + sums + scales;
  char* x = static_cast<char*>(ctx.workspace.get(x_bytes + size_t(threads) * each));
  parallel_ranges(std::min(threads, int(cut.panels)), cut.panels, 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const int64_t row = panel_row(p, cut, q), rows = panel_row(p, cut, q + 1) - row;
      for (int64_t first = 0; first < p.k(); first += kernel.depth)
        kernel.pack(row_address(p.x, row, first), p.x.dtype, p.x.stride[0], int(rows), int(rows),
                    std::min(kernel.depth, p.k() - first), x + (row * wide + rows * first) * int64_t(kernel.size));
    }
  });
  parallel_ranges(threads, items, 1, [&](int thread, int64_t begin, int64_t end) {
    char* mine = x + x_bytes + size_t(thread) * each;
    Scratch scratch{mine, reinterpret_cast<float*>(mine + weights), reinterpret_cast<float*>(mine + weights + sums)};
    for (int64_t i = begin; i < end; ++i) multiply_block(k, kernel, p, cut, i, x, scratch);
  });
}

// This many packed rows of x fit into the last-level cache, and make packing the weights cheap.
int64_t rows_at_once(const ProductKernels& kernel, const Product& p) {
  constexpr int64_t kBytes = 8 << 20, kMinRows = 256, kMaxRows = 512;
  const int64_t max_rows = std::clamp(kBytes / (p.k() * int64_t(kernel.size)), kMinRows, kMaxRows);
  const int64_t groups = (p.rows() + max_rows - 1) / max_rows;
  return (p.rows() + groups - 1) / groups;
}

void multiply(Context& ctx, const Kernels& k, const ProductKernels& kernel, const Product& p) {
  if (p.k() == 0 || p.rows() <= kMaxPasses * kernel.skinny_rows) return stream_weights(ctx, k, kernel, p);
  const int64_t step = rows_at_once(kernel, p);
  for (int64_t t = 0; t < p.rows(); t += step) {
    const int64_t rows = std::min(step, p.rows() - t);
    const Tensor x_rows = p.x.rows(t, rows), y_rows = p.y.rows(t, rows);
    multiply_panels(ctx, k, kernel, {x_rows, p.weight, p.bias, y_rows, p.alpha, p.beta});
  }
}

// A bias as f32.
class Bias {
 public:
  Bias(const Kernels& k, const Tensor* bias) {
    if (!bias) return;
    if (bias->dtype != DType::f32) converted_.resize(size_t(bias->dim(0)));
    values_ = read_vector(k, *bias, converted_.data());
  }
  const float* values() const { return values_; }

 private:
  std::vector<float> converted_;
  const float* values_ = nullptr;
};

}  // namespace

void row_products(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y, float alpha,
                  float beta) {
  const Kernels& k = kernels();
  const bool pairs = k.product_bf16 && x.dtype == DType::bf16 && weight.dtype != DType::f32;
  const Bias added(k, bias);
  multiply(ctx, k, pairs ? *k.product_bf16 : k.product, {x, {&weight, nullptr}, added.values(), y, alpha, beta});
}

void row_products(Context& ctx, const Tensor& x, const PackedWeight& weight, const Tensor* bias, const Tensor& y,
                  float beta) {
  const Kernels& k = kernels();
  const Bias added(k, bias);
  multiply(ctx, k, k.product, {x, {nullptr, &weight}, added.values(), y, 1.0f, beta});
}

}  // namespace vpref::cpu
