// SPDX-License-Identifier: Apache-2.0
#include "ops/gemm.h"

#include <algorithm>

#include "backend/cpu/kernels.h"
#include "backend/cpu/matmul.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "core/arena.h"

namespace vpref::cpu {
namespace {

constexpr int64_t kGemvRows = 8;  // up to here reading the weights is the cost

// The first `reserved` bytes of the workspace are the caller's.
void matmul(Context& ctx, const Matmul& p, size_t reserved = 0) {
  if (matmul_dnnl(ctx, p) || matmul_blas(ctx, p)) return;
  char* scratch = static_cast<char*>(ctx.workspace.get(reserved + matmul_builtin_bytes(ctx, p)));
  matmul_builtin(ctx, p, scratch + reserved);
}

Matmul product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& c, float alpha, float beta) {
  const int64_t a_row = transpose_a ? 1 : a.stride[0], a_col = transpose_a ? a.stride[0] : 1;
  const int64_t b_row = transpose_b ? 1 : b.stride[0], b_col = transpose_b ? b.stride[0] : 1;
  return {c.dim(0), c.dim(1), a.dim(transpose_a ? 0 : 1), a.data, a.dtype, a_row, a_col, b.data, b.dtype, b_row, b_col,
          c.data, c.dtype, c.stride[0], nullptr, alpha, beta};
}

// y = product (+ bias) + beta y, from the f32 product.
void finish_gemv(const Kernels& k, const float* product, const float* bias, const Tensor& y, int64_t t, int64_t begin,
                 int64_t end, float beta) {
  alignas(64) float piece[kPiece], old[kPiece];
  for (int64_t c = begin; c < end; c += kPiece) {
    const int64_t n = std::min(kPiece, end - c);
    k.to_f32(product + c, DType::f32, piece, n);
    if (bias) k.add_scaled(bias + c, 1.0f, piece, n);
    if (beta != 0.0f) k.add_scaled(read_row(k, y, t, c, n, old), beta, piece, n);
    k.from_f32(piece, row_address(y, t, c), y.dtype, n);
  }
}

// Few rows: the weights are streamed once, each thread its own part of them.
void gemv(Context& ctx, const Tensor& x, const Tensor& weight, const float* bias, const Tensor& y, float beta, size_t reserved) {
  const Kernels& k = kernels();
  const int64_t rows = x.dim(0), n = weight.dim(0), depth = weight.dim(1), wide = padded(depth);
  const bool pairs = k.gemv_bf16 && x.dtype == DType::bf16 && weight.dtype == DType::bf16;
  const bool direct = y.dtype == DType::f32 && beta == 0.0f && !bias;
  const size_t input = pairs || x.dtype == DType::f32 ? 0 : aligned(size_t(rows * wide) * sizeof(float));
  const size_t output = direct ? 0 : aligned(size_t(rows * n) * sizeof(float));
  char* memory = static_cast<char*>(ctx.workspace.get(reserved + input + output)) + reserved;
  const float* in = x.as<float>();
  int64_t ldx = x.stride[0];
  if (input) {
    float* copy = reinterpret_cast<float*>(memory);
    for (int64_t t = 0; t < rows; ++t) k.to_f32(row_address(x, t), x.dtype, copy + t * wide, depth);
    in = copy;
    ldx = wide;
  }
  float* out = direct ? y.as<float>() : reinterpret_cast<float*>(memory + input);
  const int64_t ldy = direct ? y.stride[0] : n;
  parallel_ranges(threads_for(ctx, (n + 15) / 16, 16 * depth), n, 16, [&](int, int64_t begin, int64_t end) {
    if (pairs) k.gemv_bf16(x.as<bf16_t>(), ldx, int(rows), weight.as<bf16_t>(), weight.stride[0], depth, begin, end, out, ldy);
    else k.gemv(in, ldx, int(rows), weight.data, weight.dtype, weight.stride[0], depth, begin, end, out, ldy);
    if (!direct)
      for (int64_t t = 0; t < rows; ++t) finish_gemv(k, out + t * n, bias, y, t, begin, end, beta);
  });
}

}  // namespace

void gemm(Context& ctx, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& c, float alpha,
          float beta) {
  matmul(ctx, product(a, transpose_a, b, transpose_b, c, alpha, beta));
}

void linear(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y, float beta) {
  const float* bias_f32 = nullptr;
  size_t reserved = 0;
  if (bias) {
    bias_f32 = bias->as<float>();
    if (bias->dtype != DType::f32) {
      reserved = aligned(size_t(bias->dim(0)) * sizeof(float));
      // Everything below may need is asked for at once: growing later would lose the converted bias.
      ctx.workspace.get(reserved + std::max(matmul_builtin_bytes(ctx, product(x, false, weight, true, y, 1.0f, beta)),
                                            aligned(size_t(x.dim(0) * (padded(weight.dim(1)) + weight.dim(0))) * sizeof(float)) + 64));
      bias_f32 = read_vector(kernels(), *bias, static_cast<float*>(ctx.workspace.get(reserved)));
    }
  }
  if (x.dim(0) <= kGemvRows) return gemv(ctx, x, weight, bias_f32, y, beta, reserved);
  Matmul p = product(x, false, weight, true, y, 1.0f, beta);
  p.bias = bias_f32;
  matmul(ctx, p, reserved);
}

void linear_backward_input(Context& ctx, const Tensor& dy, const Tensor& weight, const Tensor& dx, float beta) {
  matmul(ctx, product(dy, false, weight, false, dx, 1.0f, beta));
}

void linear_backward_weight(Context& ctx, const Tensor& dy, const Tensor& x, const Tensor& dweight, const Tensor* dbias,
                            float alpha) {
  matmul(ctx, product(dy, true, x, false, dweight, alpha, 1.0f));
  if (!dbias) return;
  const Kernels& k = kernels();  // columns are split over threads, rows are summed in order
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
