// SPDX-License-Identifier: Apache-2.0
// The table of single-thread kernels, one for each instruction set; the ops above it split the work over threads.
// All arithmetic is f32: other dtypes are converted at the edges, a row or a tile at a time.
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

// A matrix of which neither rows nor columns need lie side by side: element (i, j) is data[i * row + j * col].
struct Strided {
  const float* data;
  int64_t row, col;
};

struct WeightRows {
  const void* data;
  DType dtype;
  int64_t stride;
};

// Of one row of a norm's backward: its mean and reciprocal deviation, and what norm_backward takes off.
struct NormScales {
  float mean, r, c0, c1;
};

constexpr int kMaxPanelCols = 32, kMaxFewRows = 12, kMaxDepth = 512;  // of ProductKernels in f32

// y = x w^T over panels: k after k, the elements (or pairs) of a handful of rows side by side, filled up with the last
// row. Every element of y is summed alone along k, `depth` of them at a time: the same bytes whatever rows and columns
// stand beside it.
struct ProductKernels {
  int rows, cols;  // the most rows of a panel of x; the rows of a panel of w
  int few_rows;    // the most rows of x that `few` takes
  int64_t depth;   // of one sum; longer k are sums of these, in order
  int64_t step;    // a panel's k is filled up with zeros to a multiple of it
  size_t size;     // of an element of a panel
  void (*pack)(const void* from, DType dtype, int64_t stride, int count, int width, int64_t k, void* panel);
  // y[t, 0..cols) (+)= the products of a panel of x of so many rows.
  void (*tile)(int rows, const void* x, const void* w, int64_t k, float* y, int64_t ldy, bool accumulate);
  // The same sums without panels, for few rows: y[t, n0..n1) for t < rows; x: f32, or bf16 where panels are.
  void (*few)(Rows<const void> x, int rows, const WeightRows& w, int64_t k, int64_t n0, int64_t n1, Rows<float> y);
};

constexpr int64_t kScaledCodes = 64;  // 4-bit codes of one scale
constexpr int kPackedCols = 32;

// At most kPackedCols rows of codes; the last one stands in for those beyond `count`. What a code of 4 bits stands for
// is in `book` (16 values, the first of two codes in the high half); without it codes are signed bytes.
struct CodeRows {
  const uint8_t* codes;
  int64_t stride;  // bytes
  int count;
  const float* book;
  const float* scales;  // [k / kScaledCodes, or 1 for bytes][kPackedCols]
  int64_t ahead;        // how many bytes from a code lies the one to fetch meanwhile
};

// Over weights code x scale, k a multiple of kScaledCodes for codes of 4 bits, at most ProductKernels::depth of them.
struct PackedKernels {
  // ProductKernels::few, with its bytes: y[t, 0..count) for t < rows, y's rows kPackedCols apart (and all written).
  void (*few)(Rows<const float> x, int rows, const CodeRows& w, int64_t k, float* y);
  // ProductKernels::pack of ProductKernels::cols rows.
  void (*pack)(const CodeRows& w, int64_t k, float* panel);
  // What n codes that follow each other stand for, with one scale; of 4 bits (`book`) the first is in a high half.
  void (*unpack)(const uint8_t* codes, const float* book, float scale, int64_t n, float* y);
};

struct Kernels {
  const char* name;
  int lanes;
  int tile_rows;  // rows of gemm_tile that keep the registers full
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
  // dx = r (dy w - xhat c1 - c0), xhat = (x - mean) r; += when accumulate.
  void (*norm_backward)(const float* dy, const float* x, const float* w, const NormScales& scales, float* dx,
                        bool accumulate, int64_t n);
  // dw += dy (x - mean) r; db += dy, when given.
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
  PackedKernels packed;
  const ProductKernels*
      product_bf16;  // x and w (bf16, or f16 rounded to it) on the CPU's bf16 dot product; null where it has none

  // c[m, n] (+)= a[m, k] b[k, n]; any m, n; f32.
  void (*gemm_tile)(int64_t m, int64_t n, int64_t k, const Strided& a, Rows<const float> b, Rows<float> c,
                    bool accumulate);

  // One step of online softmax on transposed scores s[k, lanes of queries] (lanes_q a multiple of `lanes`):
  // s = exp(s - new max); max, sum and correction (what earlier sums and outputs are multiplied by) per query.
  // Returns whether any correction differs from 1.
  bool (*softmax_step)(float* s, int64_t k, int64_t lanes_q, float* max, float* sum, float* correction);
  // p[k, q] = exp(p - lse[q]); ds[k, q] = p (ds - delta[q]).
  void (*softmax_backward)(float* p, float* ds, int64_t k, int64_t lanes_q, const float* lse, const float* delta);
};

// The table for this CPU (the best of what was built), or the one set by use_kernels.
const Kernels& kernels();

// Tests: runs on the named table ("plain", "avx2", "avx512") from now on; false if this CPU or build lacks it. nullptr
// = the best.
bool use_kernels(const char* name);

}  // namespace vpref::cpu
