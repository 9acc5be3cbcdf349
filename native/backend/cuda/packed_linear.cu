// SPDX-License-Identifier: Apache-2.0
// Linear layers with packed weights. Skinny products: one warp per output reads that output's codes once and converts
// them in registers. unpack_tile: converts tiles for larger products, in groups of eight.
//
// Weights are rounded as on the CPU: a packed scale is a product, then a sum; code x scale is rounded once. A row of x
// has the same order of sums alone or with 15 others, so it gets the same bytes.
#include "ops/packed_linear.h"

#include "backend/cuda/groups.cuh"

namespace vpref::cuda {
namespace {

// A packed weight, as an argument of kernels.
struct Codes {
  const unsigned char* codes;
  const void* scales;
  const float *book, *nested_scales, *nested_book;
  int64_t cols;
  float offset;
  int block_shift, nested_shift;
  int four_bit;
  int wide;  // a group of eight, from a column that is a multiple of eight, is one word within one block
};

int log2_of(int64_t power) { return __builtin_ctzll(uint64_t(power)); }

Codes codes_of(const PackedWeight& w) {
  Codes c{};
  c.codes = w.codes.as<unsigned char>();
  c.scales = w.scales.data;
  c.cols = w.num_cols;
  c.four_bit = is_four_bit(w.packing);
  c.wide = w.num_cols % kGroup == 0 && reinterpret_cast<uintptr_t>(w.codes.data) % 8 == 0;
  if (!c.four_bit) return c;
  c.book = w.book.as<float>();
  c.block_shift = log2_of(w.block);
  if (!w.nested()) return c;
  c.nested_scales = w.nested_scales.as<float>();
  c.nested_book = w.nested_book.as<float>();
  c.nested_shift = log2_of(w.nested_block);
  c.offset = w.offset;
  return c;
}

__device__ float block_scale(const Codes& w, int64_t block) {
  if (!w.nested_scales) return static_cast<const float*>(w.scales)[block];
  const float value = w.nested_book[static_cast<const unsigned char*>(w.scales)[block]];
  return __fadd_rn(__fmul_rn(value, w.nested_scales[block >> w.nested_shift]), w.offset);
}

__device__ float one_weight(const Codes& w, int64_t row, int64_t col) {
  const int64_t i = row * w.cols + col;
  if (!w.four_bit)
    return __fmul_rn(float(static_cast<signed char>(w.codes[i])), static_cast<const float*>(w.scales)[row]);
  const unsigned char pair = w.codes[i / 2];
  return __fmul_rn(w.book[i % 2 ? pair & 15 : pair >> 4], block_scale(w, i >> w.block_shift));
}

// Weights [col, col + min(count, 8)) of a row, 0 beyond. wide: col is a multiple of eight, and w.wide.
__device__ void load_weights(const Codes& w, int64_t row, int64_t col, int64_t count, bool wide, float (&v)[kGroup]) {
  const int64_t first = row * w.cols + col;
  if (!wide || count < kGroup) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] = i < count ? one_weight(w, row, col + i) : 0.0f;
  } else if (w.four_bit) {
    const uint32_t word = *reinterpret_cast<const uint32_t*>(w.codes + first / 2);
    const float scale = block_scale(w, first >> w.block_shift);
#pragma unroll
    for (int i = 0; i < kGroup / 2; ++i) {
      v[2 * i] = __fmul_rn(w.book[word >> (8 * i + 4) & 15], scale);
      v[2 * i + 1] = __fmul_rn(w.book[word >> (8 * i) & 15], scale);
    }
  } else {
    const uint2 words = *reinterpret_cast<const uint2*>(w.codes + first);
    const float scale = static_cast<const float*>(w.scales)[row];
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const uint32_t word = i < 4 ? words.x : words.y;
      v[i] = __fmul_rn(float(static_cast<signed char>(word >> (8 * (i % 4)) & 255)), scale);
    }
  }
}

constexpr int kPackedWarps = 8;

template <class X, class Y>
struct PackedProduct {
  Codes w;
  const X* x;
  const void* bias;  // or null
  Y* y;
  int64_t x_stride, y_stride, n;
  float beta;
  DType bias_type;
  int rows, wide_x;
};

// Rows: at least the product's rows.
template <int Rows, class X, class Y>
__global__ void __launch_bounds__(kPackedWarps * 32) packed_linear_kernel(PackedProduct<X, Y> p) {
  grid_dependency_synchronize();
  const int64_t column = int64_t(blockIdx.x) * kPackedWarps + threadIdx.x / 32;
  if (column >= p.n) return;
  const int lane = threadIdx.x % 32;
  float sums[Rows] = {};
  for (int64_t k = lane * kGroup; k < p.w.cols; k += 32 * kGroup) {
    float weights[kGroup];
    load_weights(p.w, column, k, p.w.cols - k, p.w.wide, weights);
#pragma unroll
    for (int row = 0; row < Rows; ++row) {
      if (row >= p.rows) continue;
      float x[kGroup];
      load_group(p.x + row * p.x_stride + k, p.w.cols - k, p.wide_x, x);
#pragma unroll
      for (int i = 0; i < kGroup; ++i) sums[row] = __fmaf_rn(x[i], weights[i], sums[row]);
    }
  }
  __syncwarp();
#pragma unroll
  for (int row = 0; row < Rows; ++row) {
    float sum = sums[row];
#pragma unroll
    for (int step = 16; step > 0; step >>= 1) sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, step));
    if (lane != row || row >= p.rows) continue;
    Y* const y = p.y + row * p.y_stride + column;
    if (p.beta != 0) sum = __fmaf_rn(p.beta, load_f32(y), sum);
    if (p.bias) sum = __fadd_rn(sum, load_as(p.bias_type, p.bias, column));
    store_f32(y, sum);
  }
}

template <int Rows, class X, class Y>
void launch_packed(Context& ctx, const PackedProduct<X, Y>& p) {
  launch_dependent(packed_linear_kernel<Rows, X, Y>, unsigned((p.n + kPackedWarps - 1) / kPackedWarps),
                   kPackedWarps * 32, 0, stream_of(ctx), p);
}

template <class Y>
struct Unpack {
  Codes w;
  Y* to;
  int64_t row, col, stride;
  int wide, wide_to;
  __device__ void operator()(int64_t r, int64_t c, int64_t count) const {
    float v[kGroup];
    load_weights(w, row + r, col + c, count, wide, v);
    store_group(to + r * stride + c, count, wide_to, v);
  }
};

}  // namespace

void packed_linear(Context& ctx, const Tensor& x, const PackedWeight& w, const Tensor* bias, const Tensor& y,
                   float beta) {
  with_activation_type("packed_linear", x.dtype, [&](auto* xt) {
    with_activation_type("packed_linear", y.dtype, [&](auto* yt) {
      using X = std::remove_pointer_t<decltype(xt)>;
      using Y = std::remove_pointer_t<decltype(yt)>;
      PackedProduct<X, Y> p{};
      p.w = codes_of(w), p.x = x.as<X>(), p.y = y.as<Y>();
      p.bias = bias ? bias->data : nullptr, p.bias_type = bias ? bias->dtype : y.dtype;
      p.x_stride = x.stride[0], p.y_stride = y.stride[0], p.n = w.num_rows;
      p.beta = beta, p.rows = int(x.dim(0)), p.wide_x = all_wide_rows(x);
      if (p.rows == 1) return launch_packed<1>(ctx, p);
      if (p.rows <= 4) return launch_packed<4>(ctx, p);
      launch_packed<int(kPackedSkinnyRows)>(ctx, p);
    });
  });
}

void unpack_tile(Context& ctx, const PackedWeight& w, int64_t row, int64_t col, const Tensor& to) {
  with_activation_type("unpack_tile", to.dtype, [&](auto* t) {
    using Y = std::remove_pointer_t<decltype(t)>;
    const Codes codes = codes_of(w);
    for_groups(
        ctx, to.dim(0), to.dim(1),
        Unpack<Y>{codes, to.as<Y>(), row, col, to.stride[0], codes.wide && col % kGroup == 0, all_wide_rows(to)});
  });
}

}  // namespace vpref::cuda
