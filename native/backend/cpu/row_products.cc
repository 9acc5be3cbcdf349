// SPDX-License-Identifier: Apache-2.0
// For few rows, weights are streamed once. For more rows, weights are packed into panels (panel_products.h). Both sum
// an element in the same order (ProductKernels).
#include "backend/cpu/row_products.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/packed_products.h"
#include "backend/cpu/panel_products.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "backend/cpu/row_product.h"
#include "core/arena.h"

namespace vpref::cpu {

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

namespace {

constexpr int64_t kMaxPieces = 32;  // of a thread's share of the columns
constexpr int64_t kMaxPasses = 2;   // passes over unpacked weights; for more rows packing is faster

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

// A product whose columns are streamed: of all columns, those from `first_column` on. `y` holds its sums.
struct Streamed {
  const Product& product;
  int64_t first_column;
  Rows<float> y;
  int64_t grain() const { return product.weight.packed ? kPackedCols : 16; }  // columns per kernel call
  int64_t grains() const { return (product.cols() + grain() - 1) / grain(); }
  // Where the columns before `column` of all end in this product, at a whole grain.
  int64_t end_before(int64_t column) const {
    const int64_t own = std::max<int64_t>(column - first_column, 0);
    return own >= product.cols() ? product.cols() : own / grain() * grain();
  }
};

void stream_products(Context& ctx, const Kernels& k, const ProductKernels& kernel, const Tensor& x,
                     std::span<const Product> products) {
  const int64_t rows = x.dim(0), depth = x.dim(1), wide = padded(depth);
  const bool converts = x.dtype != DType::f32 && kernel.size == sizeof(float);
  const auto sum_bytes = [&](const Product& p) {
    return p.direct() ? 0 : aligned(size_t(rows * p.cols()) * sizeof(float));
  };
  size_t bytes = converts ? aligned(size_t(rows * wide) * sizeof(float)) : 0;
  for (const Product& p : products) bytes += sum_bytes(p);
  char* memory = static_cast<char*>(ctx.workspace.get(bytes));
  Rows<const char> in{static_cast<const char*>(x.data), x.stride[0]};
  if (converts) {
    in = {memory, wide};
    float* to = reinterpret_cast<float*>(memory);
    for (int64_t t = 0; t < rows; ++t) k.to_f32(row_address(x, t), x.dtype, to + t * wide, depth);
    memory += aligned(size_t(rows * wide) * sizeof(float));
  }
  int64_t grains = 0, columns = 0;
  std::vector<Streamed> streamed;
  streamed.reserve(products.size());
  for (const Product& p : products) {
    const bool direct = p.direct();
    streamed.push_back(
        {p, columns, {direct ? p.y.as<float>() : reinterpret_cast<float*>(memory), direct ? p.y.stride[0] : p.cols()}});
    memory += sum_bytes(p);
    grains += streamed.back().grains();
    columns += p.cols();
  }
  const int threads = threads_for(ctx, grains, columns * depth / std::max<int64_t>(grains, 1));
  const int64_t pieces = std::clamp<int64_t>(grains / threads, 1, kMaxPieces);
  parallel_shares(threads, columns, pieces, [&](int64_t first, int64_t last) {
    for (const Streamed& s : streamed) {
      const Product& p = s.product;
      const int64_t begin = s.end_before(first), end = s.end_before(last);
      if (begin == end) continue;
      if (p.weight.packed) {
        packed_skinny(k, kernel, *p.weight.packed, in, rows, {begin, end - begin}, s.y);
      } else {
        stream_dense(kernel, *p.weight.dense, in, rows, begin, end, s.y);
      }
      if (!p.direct())
        for (int64_t t = 0; t < rows; ++t) finish_sums(k, p, s.y.data + t * s.y.stride + begin, t, begin, end);
    }
  });
}

// This many packed rows of x fit into the last-level cache, and make packing the weights cheap.
int64_t rows_at_once(const ProductKernels& kernel, const Tensor& x) {
  constexpr int64_t kBytes = 8 << 20, kMinRows = 256, kMaxRows = 512;
  const int64_t max_rows = std::clamp(kBytes / (x.dim(1) * int64_t(kernel.size)), kMinRows, kMaxRows);
  const int64_t groups = (x.dim(0) + max_rows - 1) / max_rows;
  return (x.dim(0) + groups - 1) / groups;
}

void multiply(Context& ctx, const Kernels& k, const ProductKernels& kernel, const Tensor& x,
              std::vector<Product>& products) {
  if (products.empty()) return;
  if (x.dim(1) == 0 || x.dim(0) <= kMaxPasses * kernel.skinny_rows) return stream_products(ctx, k, kernel, x, products);
  const int64_t step = rows_at_once(kernel, x);
  std::vector<Product> some = products;
  for (int64_t t = 0; t < x.dim(0); t += step) {
    const int64_t rows = std::min(step, x.dim(0) - t);
    for (size_t i = 0; i < some.size(); ++i) some[i].y = products[i].y.rows(t, rows);
    panel_products(ctx, k, kernel, x.rows(t, rows), some);
  }
}

}  // namespace

void row_products(Context& ctx, const Tensor& x, std::span<const LinearPart> parts, float alpha, float beta) {
  const Kernels& k = kernels();
  std::vector<Product> wide, pairs;  // the products of each kernel
  std::vector<std::vector<float>> converted;
  converted.reserve(parts.size());
  for (const LinearPart& part : parts) {
    if (part.y.numel() == 0) continue;
    const float* bias = nullptr;
    if (part.bias) {
      std::vector<float>& values = converted.emplace_back(part.bias->dtype == DType::f32 ? 0 : part.bias->dim(0));
      bias = read_vector(k, *part.bias, values.data());
    }
    const bool narrow = part.packed ? part.packed->interleaved : part.weight->dtype != DType::f32;
    const bool pair = k.product_bf16 && x.dtype == DType::bf16 && narrow;
    (pair ? pairs : wide).push_back({{part.weight, part.packed}, bias, part.y, alpha, beta});
  }
  multiply(ctx, k, k.product, x, wide);
  if (!pairs.empty()) multiply(ctx, k, *k.product_bf16, x, pairs);
}

}  // namespace vpref::cpu
