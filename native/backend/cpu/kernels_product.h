// SPDX-License-Identifier: Apache-2.0
// Kernels of linear layers (ProductKernels). A register holds the sums of kLanes columns, each summed along k
// separately, so the number of rows and columns of a kernel does not change the order.
#pragma once
#include <type_traits>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/transpose.h"

namespace vpref::cpu::VPREF_ISA {

// The arithmetic of a kernel. A unit is one lane's input of one instruction: an element, or a pair of elements. read:
// kLanes adjacent units. add_products: c + the products of two registers, lane by lane.
struct F32 {
  using Element = float;
  using Register = F;
  static constexpr int64_t unit = 1, step = unit * kLanes, depth = 512;
  template <class T>
  static Register read(const T* p) {
    return load(p);
  }
  template <class T>
  static Register read_part(const T* p, int64_t n) {
    return load_part(p, n);
  }
  static Register everywhere(const float* p) { return splat(*p); }
  static F add_products(Register a, Register b, F c) { return fma(a, b, c); }
};

static inline void add_sums(float* y, F sums, const float* scales, bool accumulate) {
  if (scales) return store(y, fma(sums, load(scales), accumulate ? load(y) : F{}));
  store(y, accumulate ? load(y) + sums : sums);
}

constexpr int kPanelVectors = kProductCols / kLanes;
static_assert(kProductCols <= kMaxPanelCols && kSkinnyRows <= kMaxSkinnyRows && F32::depth <= kMaxDepthF32);

template <class A, int T>
static void product_rows(const typename A::Element* x, const typename A::Element* w, int64_t k, const float* scales,
                         Rows<float> y, bool accumulate) {
  F acc[T][kPanelVectors] = {};
  for (int64_t i = 0; i < k; i += A::unit) {
    typename A::Register weight[kPanelVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v) weight[v] = A::read(w + v * A::step);
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
      const typename A::Register value = A::everywhere(x + t * A::unit);
#pragma GCC unroll 2
      for (int v = 0; v < kPanelVectors; ++v) acc[t][v] = A::add_products(value, weight[v], acc[t][v]);
    }
    x += T * A::unit;
    w += kPanelVectors * A::step;
  }
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v)
      add_sums(y.data + t * y.stride + v * kLanes, acc[t][v], scales ? scales + v * kLanes : nullptr, accumulate);
}

template <class A>
static void product_tile(int rows, const void* x, const void* w, int64_t k, const float* scales, Rows<float> y,
                         bool accumulate) {
  using E = typename A::Element;
  using Tile = void (*)(const E*, const E*, int64_t, const float*, Rows<float>, bool);
  static constexpr Tile of[] = {
      nullptr,
      product_rows<A, 1>,
      product_rows<A, 2>,
      product_rows<A, 3>,
      product_rows<A, 4>,
      product_rows<A, 5>,
      product_rows<A, 6>,
#if defined(__AVX512F__)
      product_rows<A, 7>,
      product_rows<A, 8>,
      product_rows<A, 9>,
      product_rows<A, 10>,
      product_rows<A, 11>,
      product_rows<A, 12>,
      product_rows<A, 13>,
      product_rows<A, 14>,
#endif
  };
  static_assert(sizeof of / sizeof *of == kProductRows + 1);
  of[rows](static_cast<const E*>(x), static_cast<const E*>(w), k, scales, y, accumulate);
}

// Units [i, i + step) of kLanes rows, zeros beyond k, one register per unit.
template <class A, class W>
static inline void read_columns(const W* const (&row)[kLanes], int64_t i, int64_t k, F (&columns)[kLanes]) {
  if (i + A::step <= k) {
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) columns[r] = (F)A::read(row[r] + i);
  } else {
    for (int r = 0; r < kLanes; ++r) columns[r] = (F)A::read_part(row[r] + i, k - i);
  }
  transpose(columns);
}

// Pointers to rows [first, first + kLanes) of `count`; the last row is repeated beyond it.
template <class W>
static inline void row_pointers(const W* from, int64_t stride, int64_t first, int64_t count, const W* (&row)[kLanes]) {
  for (int r = 0; r < kLanes; ++r) row[r] = from + (first + r < count ? first + r : count - 1) * stride;
}

template <class A, class W>
static void pack_rows_of(const W* from, int64_t stride, int count, int width, int64_t k, typename A::Element* panel) {
  constexpr int64_t kAhead = 8 * kLanes;
  const int64_t units = (k + A::step - 1) / A::step * kLanes;
  for (int g = 0; g < width; g += kLanes) {
    const W* row[kLanes];
    row_pointers(from, stride, g, count, row);
    const int lanes = width - g < kLanes ? width - g : kLanes;
    for (int64_t u = 0; u < units; u += kLanes) {
      // The hardware does not follow so many streams: the rows further on, then the next rows.
      const int64_t next =
          u + kAhead < units ? (u + kAhead) * A::unit : (u + kAhead - units) * A::unit + kLanes * stride;
      for (int r = 0; r < kLanes; ++r) __builtin_prefetch(row[r] + next, 0, 2);
      F columns[kLanes];
      read_columns<A>(row, u * A::unit, k, columns);
      typename A::Element* to = panel + (u * width + g) * A::unit;
      // A whole register overwrites values beyond a narrow panel. The next store corrects them, except after the last
      // row.
      const bool whole = lanes == kLanes || (g == 0 && u + 2 * kLanes <= units);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j)
        std::memcpy(to + j * width * A::unit, &columns[j], whole ? sizeof(F) : size_t(lanes) * sizeof(float));
    }
  }
}

template <class A>
static void pack_panel(const void* from, DType dtype, int64_t stride, int count, int width, int64_t k,
                       void* panel_any) {
  auto* panel = static_cast<typename A::Element*>(panel_any);
  if (dtype == DType::bf16) return pack_rows_of<A>(static_cast<const bf16_t*>(from), stride, count, width, k, panel);
  if (dtype == DType::f16) return pack_rows_of<A>(static_cast<const f16_t*>(from), stride, count, width, k, panel);
  if constexpr (sizeof *panel == sizeof(float))
    pack_rows_of<A>(static_cast<const float*>(from), stride, count, width, k, panel);
}

// The part of skinny_columns with whole registers of bf16 weights in f32 products: a lane holds two numbers of a row,
// so half as much is transposed. Adds to `acc` and returns its end. ahead: distance to the weight to prefetch.
template <int T>
static inline int64_t paired_columns(const float* x, int64_t ldx, const bf16_t* const (&row)[kLanes], int64_t ahead,
                                     int64_t first, int64_t end, F (&acc)[T]) {
  constexpr int64_t kPairs = 2 * kLanes;
  int64_t i = first;
  for (; i + kPairs <= end; i += kPairs) {
    for (int r = 0; r < kLanes; ++r) __builtin_prefetch(row[r] + ahead + i, 0, 2);
    F pairs[kLanes];
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) std::memcpy(&pairs[r], row[r] + i, sizeof(F));
    transpose(pairs);
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j)
#pragma GCC unroll 2
      for (int e = 0; e < 2; ++e) {
        const F value = half_of((U)pairs[j], e);
#pragma GCC unroll 16
        for (int t = 0; t < T; ++t) acc[t] = fma(splat(x[t * ldx + i + 2 * j + e]), value, acc[t]);
      }
  }
  return i;
}

// kLanes rows of weights times T rows of x, directly from memory. after: distance to the next rows.
template <class A, int T, class W>
static inline void skinny_columns(const typename A::Element* x, int64_t ldx, const W* const (&row)[kLanes],
                                  int64_t after, int64_t k, F (&sums)[T]) {
  const bool is_short = k * int64_t(sizeof(W)) < kShortRowBytes;
  for (int64_t first = 0; first == 0 || first < k; first += A::depth) {
    const int64_t end = k - first < A::depth ? k : first + A::depth;
    const int64_t ahead = is_short ? after : end < k ? A::depth : after - first;
    F acc[T] = {};
    int64_t i = first;
    F columns[kLanes];
    if constexpr (std::is_same_v<A, F32> && std::is_same_v<W, bf16_t>)
      i = paired_columns<T>(x, ldx, row, ahead, first, end, acc);
    for (; i + A::step <= end; i += A::step) {
      for (int r = 0; r < kLanes; ++r) __builtin_prefetch(row[r] + ahead + i, 0, 2);
      read_columns<A>(row, i, k, columns);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j)
#pragma GCC unroll 16
        for (int t = 0; t < T; ++t)
          acc[t] =
              A::add_products(A::everywhere(x + t * ldx + i + j * A::unit), (typename A::Register)columns[j], acc[t]);
    }
    if (i < end) {
      typename A::Element rest[T][A::step] = {};
      for (int t = 0; t < T; ++t) std::memcpy(rest[t], x + t * ldx + i, size_t(end - i) * sizeof rest[0][0]);
      read_columns<A>(row, i, end, columns);
      for (int j = 0; j < kLanes; ++j)
        for (int t = 0; t < T; ++t)
          acc[t] = A::add_products(A::everywhere(rest[t] + j * A::unit), (typename A::Register)columns[j], acc[t]);
    }
    for (int t = 0; t < T; ++t) sums[t] = first == 0 ? acc[t] : sums[t] + acc[t];
  }
}

template <class A, int T, class W>
static void skinny(Rows<const typename A::Element> x, Rows<const W> w, int64_t k, int64_t n0, int64_t n1,
                   Rows<float> y) {
  for (int64_t n = n0; n < n1; n += kLanes) {
    const W* row[kLanes];
    row_pointers(w.data, w.stride, n, n1, row);
    F sums[T];
    skinny_columns<A, T>(x.data, x.stride, row, kLanes * w.stride, k, sums);
    for (int t = 0; t < T; ++t) {
      float* to = y.data + t * y.stride + n;
      if (n + kLanes <= n1)
        store(to, sums[t]);
      else
        store_part(to, sums[t], n1 - n);
    }
  }
}

template <class A, class W>
static void skinny_of(Rows<const typename A::Element> x, int rows, Rows<const W> w, int64_t k, int64_t n0, int64_t n1,
                      Rows<float> y) {
  using Skinny = void (*)(Rows<const typename A::Element>, Rows<const W>, int64_t, int64_t, int64_t, Rows<float>);
  static constexpr Skinny of[] = {
      nullptr,         skinny<A, 1, W>,  skinny<A, 2, W>,  skinny<A, 3, W>,  skinny<A, 4, W>,
      skinny<A, 5, W>, skinny<A, 6, W>,  skinny<A, 7, W>,  skinny<A, 8, W>,
#if defined(__AVX512F__)
      skinny<A, 9, W>, skinny<A, 10, W>, skinny<A, 11, W>, skinny<A, 12, W>,
#endif
  };
  static_assert(sizeof of / sizeof *of == kSkinnyRows + 1);
  of[rows](x, w, k, n0, n1, y);
}

template <class A>
static void skinny_products(Rows<const void> x_any, int rows, const WeightRows& w, int64_t k, int64_t n0, int64_t n1,
                            Rows<float> y) {
  const Rows<const typename A::Element> x{static_cast<const typename A::Element*>(x_any.data), x_any.stride};
  const auto of_type = [&](auto* weights) { return skinny_of<A>(x, rows, Rows{weights, w.stride}, k, n0, n1, y); };
  if (w.dtype == DType::bf16) return of_type(static_cast<const bf16_t*>(w.data));
  if (w.dtype == DType::f16) return of_type(static_cast<const f16_t*>(w.data));
  if constexpr (sizeof *x.data == sizeof(float)) of_type(static_cast<const float*>(w.data));
}

}  // namespace vpref::cpu::VPREF_ISA
