// SPDX-License-Identifier: Apache-2.0
#include "ops/gemm.h"

#include <algorithm>

#include "backend/cpu/kernels.h"
#include "backend/cpu/matmul.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "backend/cpu/row_products.h"
#include "core/arena.h"

namespace vpref::cpu {
namespace {

// Contiguous elements of a row, in memory order.
struct Block {
  const void* data;
  DType dtype;
  int64_t stride, rows, width;
};

// The block as a dense array of another dtype.
void convert_block(const Context& ctx, const Block& x, DType to, void* y) {
  const Kernels& k = kernels();
  parallel_ranges(threads_for(ctx, x.rows, x.width), x.rows, 1, [&](int, int64_t begin, int64_t end) {
    alignas(64) float piece[kPiece];
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < x.width; c += kPiece) {
        const int64_t n = std::min(kPiece, x.width - c);
        const char* from = static_cast<const char*>(x.data) + (r * x.stride + c) * int64_t(dtype_size(x.dtype));
        char* at = static_cast<char*>(y) + (r * x.width + c) * int64_t(dtype_size(to));
        float* values = to == DType::f32 ? reinterpret_cast<float*>(at) : piece;
        k.to_f32(from, x.dtype, values, n);
        if (to != DType::f32) k.from_f32(values, at, to, n);
      }
  });
}

bool library(Context& ctx, const Matmul& p) { return matmul_dnnl(ctx, p) || matmul_blas(ctx, p); }

// Converts operands that the library cannot multiply directly: a whole, b by blocks of columns. To bf16 if the
// activations are bf16 and the CPU multiplies bf16 faster, else to f32.
bool matmul_converted(Context& ctx, const Matmul& p) {
  constexpr int64_t kBlockBytes = 4 << 20;
  const DType type = p.a_dtype == DType::bf16 && p.b_dtype != DType::f32 && has_bf16_dot() ? DType::bf16 : DType::f32;
  const int64_t size = int64_t(dtype_size(type));
  if ((p.a_row != 1 && p.a_col != 1) || (p.b_row != 1 && p.b_col != 1) || p.k == 0) return false;
  const bool wide_c = type == DType::f32 && p.c_dtype != DType::f32;
  const int64_t block = std::min(p.n, std::max<int64_t>(64, kBlockBytes / (p.k * size) / 64 * 64));
  const size_t a_bytes = p.a_dtype == type ? 0 : aligned(size_t(p.m * p.k * size));
  const size_t b_bytes = p.b_dtype == type ? 0 : aligned(size_t(block * p.k * size));
  char* memory =
      static_cast<char*>(ctx.workspace.get(a_bytes + b_bytes + (wide_c ? aligned(size_t(p.m * block * 4)) : 0)));
  Matmul part = p;
  part.a_dtype = part.b_dtype = type;
  if (a_bytes) {
    const bool plain = p.a_col == 1;
    const Block a = plain ? Block{p.a, p.a_dtype, p.a_row, p.m, p.k} : Block{p.a, p.a_dtype, p.a_col, p.k, p.m};
    convert_block(ctx, a, type, memory);
    part.a = memory;
    part.a_row = plain ? p.k : 1;
    part.a_col = plain ? 1 : p.m;
  }
  for (int64_t j = 0; j < p.n; j += block) {
    part.n = std::min(block, p.n - j);
    part.b = static_cast<const char*>(p.b) + j * p.b_col * int64_t(dtype_size(p.b_dtype));
    if (b_bytes) {
      const bool plain = p.b_col == 1;
      const Block b =
          plain ? Block{part.b, p.b_dtype, p.b_row, p.k, part.n} : Block{part.b, p.b_dtype, p.b_col, part.n, p.k};
      convert_block(ctx, b, type, memory + a_bytes);
      part.b = memory + a_bytes;
      part.b_row = plain ? part.n : 1;
      part.b_col = plain ? 1 : p.k;
    }
    char* c = static_cast<char*>(p.c) + j * int64_t(dtype_size(p.c_dtype));
    float* wide = reinterpret_cast<float*>(memory + a_bytes + b_bytes);
    part.c = c;
    if (wide_c) {
      part.c = wide;
      part.c_dtype = DType::f32;
      part.c_row = part.n;
      if (p.beta != 0.0f) convert_block(ctx, {c, p.c_dtype, p.c_row, p.m, part.n}, DType::f32, wide);
    }
    if (!library(ctx, part)) return false;  // decided at the first block, before c is written
    if (!wide_c) continue;
    const Kernels& k = kernels();
    parallel_ranges(threads_for(ctx, p.m, part.n), p.m, 1, [&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        k.from_f32(wide + i * part.n, c + i * p.c_row * int64_t(dtype_size(p.c_dtype)), p.c_dtype, part.n);
    });
  }
  return true;
}

void matmul(Context& ctx, const Matmul& p) {
  if (library(ctx, p) || matmul_converted(ctx, p)) return;
  matmul_builtin(ctx, p, ctx.workspace.get(matmul_builtin_bytes(ctx, p)));
}

Matmul product(const GemmOperand& a, const GemmOperand& b, const Tensor& c, float alpha, float beta) {
  const int64_t a_stride = a.matrix.stride[0], b_stride = b.matrix.stride[0];
  return {.m = c.dim(0),
          .n = c.dim(1),
          .k = a.cols(),
          .a = a.matrix.data,
          .a_dtype = a.matrix.dtype,
          .a_row = a.transposed ? 1 : a_stride,
          .a_col = a.transposed ? a_stride : 1,
          .b = b.matrix.data,
          .b_dtype = b.matrix.dtype,
          .b_row = b.transposed ? 1 : b_stride,
          .b_col = b.transposed ? b_stride : 1,
          .c = c.data,
          .c_dtype = c.dtype,
          .c_row = c.stride[0],
          .alpha = alpha,
          .beta = beta};
}

}  // namespace

void gemm(Context& ctx, const GemmOperand& a, const GemmOperand& b, const Tensor& c, float alpha, float beta) {
  const LinearPart rows{&b.matrix, nullptr, nullptr, c};
  if (!a.transposed && b.transposed) return row_products(ctx, a.matrix, {&rows, 1}, alpha, beta);
  matmul(ctx, product(a, b, c, alpha, beta));
}

void linear(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y, float beta) {
  const LinearPart part{&weight, nullptr, bias, y};
  row_products(ctx, x, {&part, 1}, 1.0f, beta);
}

void linear_stack(Context& ctx, const Tensor& x, std::span<const LinearPart> parts) {
  row_products(ctx, x, parts, 1.0f, 0.0f);
}

void linear_backward_input(Context& ctx, const Tensor& dy, const Tensor& weight, const Tensor& dx, float beta) {
  matmul(ctx, product(dy, weight, dx, 1.0f, beta));
}

void linear_backward_weight(Context& ctx, const Tensor& dy, const Tensor& x, const Tensor& dweight, const Tensor* dbias,
                            float alpha) {
  matmul(ctx, product(transposed(dy), x, dweight, alpha, 1.0f));
  if (!dbias) return;
  const Kernels& k = kernels();  // columns are split over threads; rows are summed in order
  const int64_t n = dy.dim(1);
  parallel_ranges(threads_for(ctx, (n + 63) / 64, 64 * dy.dim(0)), n, 64, [&](int, int64_t begin, int64_t end) {
    alignas(64) float piece[kPiece];
    for (int64_t c = begin; c < end; c += kPiece) {
      const int64_t count = std::min(kPiece, end - c);
      for (int64_t t = 0; t < dy.dim(0); ++t)
        k.add_scaled(read_row(k, dy, t, c, count, piece), alpha, dbias->as<float>() + c, count);
    }
  });
}

}  // namespace vpref::cpu
