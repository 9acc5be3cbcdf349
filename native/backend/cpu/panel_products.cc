// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/panel_products.h"

#include <algorithm>

#include "backend/cpu/packed_products.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "core/arena.h"

namespace vpref::cpu {
namespace {

int64_t whole_steps(const ProductKernels& kernel, int64_t k) {
  return (k + kernel.step - 1) / kernel.step * kernel.step;
}

// All panels of x, the depths of each in order. Panels differ by at most one row.
struct InputPanels {
  const ProductKernels& kernel;
  int64_t rows, k;
  char* data;
  int64_t count() const { return (rows + kernel.rows - 1) / kernel.rows; }
  int64_t first_row(int64_t panel) const { return rows * panel / count(); }
  int num_rows(int64_t panel) const { return int(first_row(panel + 1) - first_row(panel)); }
  size_t bytes() const { return aligned(size_t(rows * whole_steps(kernel, k)) * kernel.size); }
  char* at(int64_t panel, int64_t depth) const {
    return data + (first_row(panel) * whole_steps(kernel, k) + num_rows(panel) * depth) * int64_t(kernel.size);
  }
};

void pack_input(const Context& ctx, const Tensor& x, const InputPanels& to) {
  const ProductKernels& kernel = to.kernel;
  const int threads = threads_for(ctx, to.count(), kernel.rows * to.k);
  parallel_ranges(threads, to.count(), 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q)
      for (int64_t first = 0; first < to.k; first += kernel.depth)
        kernel.pack(row_address(x, to.first_row(q), first), x.dtype, x.stride[0], to.num_rows(q), to.num_rows(q),
                    std::min(kernel.depth, to.k - first), to.at(q, first));
  });
}

// How the work is split: by blocks of columns, and by panels of rows if there are too few columns.
struct Cut {
  int64_t cols, col_blocks, panels, row_blocks;
  Cut(const Context& ctx, const Product& p, const InputPanels& x) : panels(x.count()) {
    constexpr int64_t kMaxCols = 128, kShares = 4;
    const int64_t threads = std::max(ctx.num_threads, 1), width = x.kernel.cols;
    const int64_t needed = (p.cols() + kMaxCols - 1) / kMaxCols, even = (needed + threads - 1) / threads * threads;
    const int64_t wanted = p.cols() / even >= width ? even : needed;
    cols = ((p.cols() + wanted - 1) / wanted + width - 1) / width * width;
    col_blocks = (p.cols() + cols - 1) / cols;
    row_blocks = 1;
    if (col_blocks % threads != 0) row_blocks = (kShares * threads + col_blocks - 1) / col_blocks;
    row_blocks = std::min(row_blocks, panels);
  }
  int64_t items() const { return col_blocks * row_blocks; }
  int64_t first_panel(int64_t row_block) const { return panels * row_block / row_blocks; }
  int64_t max_rows(const ProductKernels& kernel) const {
    return ((panels + row_blocks - 1) / row_blocks) * kernel.rows;
  }
};

// Where one thread keeps its panels of a block of weights, their scales and, if y cannot hold them, its sums.
struct ScratchSizes {
  size_t weights, sums, scales;
  ScratchSizes(const Product& p, const InputPanels& x, const Cut& cut) {
    const ProductKernels& kernel = x.kernel;
    weights = aligned(size_t(cut.cols * std::min(kernel.depth, whole_steps(kernel, x.k))) * kernel.size);
    sums = p.in_place() ? 0 : aligned(size_t(cut.max_rows(kernel) * cut.cols) * sizeof(float));
    scales = p.weight.packed ? aligned(size_t(cut.cols / kernel.cols * kMaxPanelScales) * sizeof(float)) : 0;
  }
  size_t all() const { return weights + sums + scales; }
};

struct Scratch {
  char* weights;
  float *sums, *scales;
  int64_t packed = -1;  // block of the current panels
  int64_t per_scale = 0;
  Scratch(char* memory, const ScratchSizes& sizes)
      : weights(memory),
        sums(reinterpret_cast<float*>(memory + sizes.weights)),
        scales(reinterpret_cast<float*>(memory + sizes.weights + sizes.sums)) {}
};

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
  if (weight.packed) return pack_packed(k, kernel, *weight.packed, n, depth, panel, scales);
  const Tensor& w = *weight.dense;
  kernel.pack(row_address(w, n.first, depth.first), w.dtype, w.stride[0], int(n.count), kernel.cols, depth.count,
              panel);
  return 0;
}

void multiply_block(const Kernels& k, const Product& p, const InputPanels& x, const Cut& cut, int64_t item,
                    Scratch& s) {
  const ProductKernels& kernel = x.kernel;
  const int64_t block = item / cut.row_blocks, share = item % cut.row_blocks;
  const int64_t n0 = block * cut.cols, n1 = std::min(p.cols(), n0 + cut.cols);
  const int64_t q0 = cut.first_panel(share), q1 = cut.first_panel(share + 1), r0 = x.first_row(q0);
  float* out = p.in_place() ? reinterpret_cast<float*>(row_address(p.y, r0, n0)) : s.sums;
  const int64_t ldy = p.in_place() ? p.y.stride[0] : cut.cols;
  for (int64_t first = 0; first < x.k; first += kernel.depth) {
    const int64_t depth = std::min(kernel.depth, x.k - first), padded_depth = whole_steps(kernel, depth);
    if (s.packed != block || x.k > kernel.depth)
      for (int64_t n = n0; n < n1; n += kernel.cols)
        s.per_scale = pack_weights(k, kernel, p.weight, {n, std::min<int64_t>(kernel.cols, n1 - n)}, {first, depth},
                                   s.weights + (n - n0) * padded_depth * int64_t(kernel.size),
                                   s.scales + (n - n0) / kernel.cols * kMaxPanelScales);
    s.packed = block;
    for (int64_t q = q0; q < q1; ++q) {
      const int64_t row = x.first_row(q);
      const int rows = x.num_rows(q);
      multiply_panel(kernel, rows, x.at(q, first), {s.weights, padded_depth, n1 - n0, s.scales, s.per_scale},
                     {out + (row - r0) * ldy, ldy}, first > 0);
      if (first + depth < x.k || p.direct()) continue;
      for (int64_t t = row; t < row + rows; ++t) finish_sums(k, p, out + (t - r0) * ldy, t, n0, n1);
    }
  }
}

}  // namespace

void panel_products(Context& ctx, const Kernels& k, const ProductKernels& kernel, const Tensor& x,
                    std::span<const Product> products) {
  InputPanels panels{kernel, x.dim(0), x.dim(1), nullptr};
  const auto threads_of = [&](const Cut& cut) {
    return threads_for(ctx, cut.items(), panels.rows * cut.cols / cut.row_blocks * panels.k);
  };
  size_t scratch = 0;  // of the product that needs most
  for (const Product& p : products) {
    const Cut cut(ctx, p, panels);
    scratch = std::max(scratch, size_t(threads_of(cut)) * ScratchSizes(p, panels, cut).all());
  }
  panels.data = static_cast<char*>(ctx.workspace.get(panels.bytes() + scratch));
  pack_input(ctx, x, panels);
  for (const Product& p : products) {
    const Cut cut(ctx, p, panels);
    const ScratchSizes sizes(p, panels, cut);
    parallel_ranges(threads_of(cut), cut.items(), 1, [&](int thread, int64_t begin, int64_t end) {
      Scratch s(panels.data + panels.bytes() + size_t(thread) * sizes.all(), sizes);
      for (int64_t i = begin; i < end; ++i) multiply_block(k, p, panels, cut, i, s);
    });
  }
}

}  // namespace vpref::cpu
