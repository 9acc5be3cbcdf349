// SPDX-License-Identifier: Apache-2.0
// The table of single-threaded kernels, one per instruction set. The ops split the work over threads. All arithmetic is
// f32; other dtypes are converted on load and store, a row or a tile at a time.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "ops/adamw.h"
#include "ops/gelu.h"

namespace vpref::cpu {

// Rows of numbers, `stride` elements apart.
template <class T>
struct Rows {
  T* data;
  int64_t stride;
};

// A matrix with any strides: element (i, j) is data[i * row + j * col].
struct Strided {
  const float* data;
  int64_t row, col;
};

// Elements from `col` on of rows anywhere in memory, f32 or bf16.
struct RowList {
  const void* const* rows;
  DType dtype;
  int64_t col;
};

struct WeightRows {
  const void* data;
  DType dtype;
  int64_t stride;
};

// One row of a norm's backward: its mean, reciprocal standard deviation, and the terms that norm_backward subtracts.
struct NormScales {
  float mean, r, c0, c1;
};

// Limits of ProductKernels; f32 has its own depth.
constexpr int kMaxPanelCols = 32, kMaxSkinnyRows = 12, kMaxDepth = 1024, kMaxDepthF32 = 512;

constexpr int64_t kScaledCodes = 64;  // 4-bit codes per scale
constexpr int kPackedCols = 64;       // kInterleavedRows

// Codes of an interleaved weight (core/interleaved_weight.h) from a row and a k on; a lane holds 4 bytes of a row, and
// lanes of the same bytes of kPackedCols rows are adjacent. `book` holds the 16 values of 4-bit codes (the first of two
// codes in the high half); without it, codes are signed bytes.
struct InterleavedCodes {
  const uint8_t* codes;
  const float* book;
  const float* scales;  // [k / kScaledCodes, or 1 for bytes][kPackedCols]
};

// y = x w^T over panels. A panel holds the elements (or pairs) of a few rows side by side, k by k, and repeats its last
// row as padding. Every element of y is summed separately along k, `depth` elements at a time, so its bytes do not
// depend on the other rows and columns.
struct ProductKernels {
  int rows, cols;   // maximum rows of a panel of x; rows of a panel of w
  int skinny_rows;  // maximum rows of x of `skinny`
  int64_t depth;    // elements of k per sum; a longer k is a sum of such sums, in order
  int64_t step;     // a panel's k is padded with zeros to a multiple of this
  size_t size;      // bytes of a panel's element
  void (*pack)(const void* from, DType dtype, int64_t stride, int count, int width, int64_t k, void* panel);
  // y[t, 0..cols) (+)= the products of a panel of x with `rows` rows, times the scale of the column if there is one.
  void (*tile)(int rows, const void* x, const void* w, int64_t k, const float* scales, Rows<float> y, bool accumulate);
  // The same sums without panels, for few rows: y[t, n0..n1) for t < rows; x: f32, or bf16 if panels are bf16.
  void (*skinny)(Rows<const void> x, int rows, const WeightRows& w, int64_t k, int64_t n0, int64_t n1, Rows<float> y);
  // Of packed weights, k at most `depth`, for 4-bit codes a multiple of kScaledCodes. The products with the codes of
  // one scale are summed before they are scaled: y[t, 0..kPackedCols) (+)= scale x sum; rows of y are kPackedCols
  // apart. Codes are read up to the next multiple of `step` from k on, and 3 bytes beyond.
  void (*skinny_codes)(Rows<const void> x, int rows, const InterleavedCodes& w, int64_t k, float* y, bool accumulate);
  // As `pack`, for `cols` rows: the values of the codes, not scaled.
  void (*pack_codes)(const InterleavedCodes& w, int64_t k, void* panel);
};

// The hardware prefetcher does not follow sixteen streams, so the kernels for few rows prefetch: on weight rows shorter
// than this the next rows, on longer rows the next depth.
constexpr int64_t kShortRowBytes = 4096;

struct Kernels {
  const char* name;
  int lanes;
  int tile_rows;  // rows of gemm_tile that fill the registers
  int tile_cols;

  void (*to_f32)(const void* x, DType dtype, float* y, int64_t n);
  void (*from_f32)(const float* x, void* y, DType dtype, int64_t n);

  float (*sum_squares)(const float* x, int64_t n);
  double (*sum_squares_f64)(const float* x, int64_t n);
  float (*sum)(const float* x, int64_t n);
  float (*dot)(const float* a, const float* b, int64_t n);
  float (*dot3)(const float* a, const float* b, const float* c, int64_t n);  // sum a b c
  float (*centered_sum_squares)(const float* x, float mean, int64_t n);
  float (*max)(const float* x, int64_t n);

  void (*add_scaled)(const float* x, float alpha, float* y, int64_t n);                // y += alpha x
  void (*scale)(float alpha, float* x, int64_t n);                                     // x *= alpha
  void (*scale_weight)(const float* x, float r, const float* w, float* y, int64_t n);  // y = x r w
  void (*normalize)(const float* x, float mean, float r, const float* w, const float* b, float* y, int64_t n);
  // dx = r (dy w - xhat c1 - c0), xhat = (x - mean) r; += if accumulate.
  void (*norm_backward)(const float* dy, const float* x, const float* w, const NormScales& scales, float* dx,
                        bool accumulate, int64_t n);
  // dw += dy (x - mean) r; db += dy, if given.
  void (*norm_backward_weight)(const float* dy, const float* x, float mean, float r, float* dw, float* db, int64_t n);

  void (*rope)(float* x, const float* cosine, const float* sine, int64_t half);
  void (*swiglu)(const float* gate, const float* up, float* y, int64_t n);
  void (*swiglu_backward)(const float* dy, const float* gate, const float* up, float* dgate, float* dup, int64_t n);
  void (*gelu)(Gelu kind, const float* x, float* y, int64_t n);
  void (*gelu_backward)(Gelu kind, const float* dy, const float* x, float* dx, int64_t n);

  double (*sum_exp)(const float* x, float shift, float scale, int64_t n);  // sum exp((x - shift) scale)
  void (*exp_scaled)(const float* x, float shift, float scale, float factor, float* y,
                     int64_t n);  // factor exp((x - shift) scale)

  void (*adamw)(const AdamW& options, float* param, const float* grad, float* m, float* v, bf16_t* copy, int64_t n);

  ProductKernels product;  // f32, weights of any dtype converted
  // Unpacks n consecutive codes of one scale. 4-bit codes (with `book`): the first is in the high half of its byte.
  void (*unpack_codes)(const uint8_t* codes, const float* book, float scale, int64_t n, float* y);
  // y[r, 0..k) for `lanes` rows: the values of the codes, scaled. k is a multiple of `lanes`; of 4-bit codes the first
  // is the first of its scale.
  void (*unpack_rows)(const InterleavedCodes& w, int64_t k, Rows<float> y);
  const ProductKernels* product_bf16;  // on the CPU's bf16 dot product, null if it has none: x bf16; w bf16, or rounded
                                       // to it (f16 and the values of 4-bit codes; int8 codes are bf16 numbers)

  // c[m, n] (+)= a[m, k] b[k, n]; any m, n; f32.
  void (*gemm_tile)(int64_t m, int64_t n, int64_t k, const Strided& a, Rows<const float> b, Rows<float> c,
                    bool accumulate);

  // y[t, 0..d) += the sum over j < n of weights[t, j] x[j, 0..d), for t < count.
  void (*weighted_sums)(int64_t count, int64_t d, int64_t n, Rows<const float> weights, const RowList& x,
                        Rows<float> y);

  // One step of online softmax on transposed scores s[k, lanes of queries] (lanes_q a multiple of `lanes`):
  // s = exp(s - new max); max, sum and correction (the factor of earlier sums and outputs) per query.
  // Returns whether any correction differs from 1.
  bool (*softmax_step)(float* s, int64_t k, int64_t lanes_q, float* max, float* sum, float* correction);
  // p[k, q] = exp(p - lse[q]); ds[k, q] = p (ds - delta[q]).
  void (*softmax_backward)(float* p, float* ds, int64_t k, int64_t lanes_q, const float* lse, const float* delta);
};

// The table for this CPU (the best one built), or the one set by use_kernels.
const Kernels& kernels();

// For tests: selects the named table ("plain", "avx2", "avx512"), or the best one (nullptr). Returns false if this CPU
// or build lacks it.
bool use_kernels(const char* name);

}  // namespace vpref::cpu
