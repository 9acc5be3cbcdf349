// SPDX-License-Identifier: Apache-2.0
// Kernels of linear layers (ProductKernels). An element's lanes sum along k; how many rows and columns a kernel serves
// at once changes no order.
#pragma once
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd.h"

namespace vpref::cpu::VPREF_ISA {

// The arithmetic of a kernel: a register of elements, and c + the products of two of them, lane by lane.
struct F32 {
  using Element = float;
  using Register = F;
  static constexpr int64_t step = kLanes, depth = 1024;
  template <class T>
  static Register read(const T* p) {
    return load(p);
  }
  template <class T>
  static Register read_part(const T* p, int64_t n) {
    return load_part(p, n);
  }
  static F add_products(Register a, Register b, F c) { return fma(a, b, c); }
};

typedef float F4 __attribute__((vector_size(16)));

static inline void put_sums(float* y, F4 sums, bool accumulate) {
  F4 old;
  if (accumulate) {
    std::memcpy(&old, y, sizeof old);
    sums = old + sums;
  }
  std::memcpy(y, &sums, sizeof sums);
}

// y[t, 0..4) (+)= reduce_add of acc[t][0..4), in its order, for t < T.
template <int T>
static inline void put_reduced(const F (&acc)[T][4], float* y, int64_t ldy, bool accumulate) {
#if defined(__AVX512F__)
  const auto halves = [](F a, F b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4((__m512)a, (__m512)b, 0x44),
                         _mm512_shuffle_f32x4((__m512)a, (__m512)b, 0xee));
  };
  const auto quarters = [&](const F* row) {  // a block of 4 lanes for each of the row's four
    const __m512 ab = halves(row[0], row[1]), cd = halves(row[2], row[3]);
    return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
  };
  const __m512i first_lanes = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13);
#pragma GCC unroll 4
  for (int t = 0; t < T; t += 2) {
    const __m512 one = quarters(acc[t]), other = t + 1 < T ? quarters(acc[t + 1]) : one;
    const __m512 two = _mm512_add_ps(_mm512_shuffle_ps(one, other, 0x44), _mm512_shuffle_ps(one, other, 0xee));
    const __m512 sums = _mm512_permutexvar_ps(
        first_lanes, _mm512_add_ps(_mm512_shuffle_ps(two, two, 0x88), _mm512_shuffle_ps(two, two, 0xdd)));
    put_sums(y + t * ldy, (F4)_mm512_castps512_ps128(sums), accumulate);
    if (t + 1 < T) put_sums(y + (t + 1) * ldy, (F4)_mm512_extractf32x4_ps(sums, 1), accumulate);
  }
#elif defined(__AVX2__)
  const auto halves = [](F a, F b) {
    return _mm256_add_ps(_mm256_permute2f128_ps((__m256)a, (__m256)b, 0x20),
                         _mm256_permute2f128_ps((__m256)a, (__m256)b, 0x31));
  };
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
    const __m256 ab = halves(acc[t][0], acc[t][1]), cd = halves(acc[t][2], acc[t][3]);
    const __m256 two = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    const __m256 sums =
        _mm256_add_ps(_mm256_shuffle_ps(two, two, 0x88), _mm256_shuffle_ps(two, two, 0xdd));  // a, c, ... and b, d, ...
    put_sums(y + t * ldy, (F4)_mm_unpacklo_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)),
             accumulate);
  }
#else
  for (int t = 0; t < T; ++t)
    put_sums(y + t * ldy,
             F4{reduce_add(acc[t][0]), reduce_add(acc[t][1]), reduce_add(acc[t][2]), reduce_add(acc[t][3])},
             accumulate);
#endif
}

template <class A, int T>
static void product_rows(const typename A::Element* x, const typename A::Element* w, int64_t k, float* y, int64_t ldy,
                         bool accumulate) {
  F acc[T][4] = {};
  for (int64_t i = 0; i < k; i += A::step) {
    typename A::Register in[T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) in[t] = A::read(x + t * A::step);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const typename A::Register weight = A::read(w + r * A::step);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) acc[t][r] = A::add_products(weight, in[t], acc[t][r]);
    }
    x += T * A::step;
    w += 4 * A::step;
  }
  put_reduced(acc, y, ldy, accumulate);
}

template <class A>
static void product_tile(int rows, const void* x_any, const void* w_any, int64_t k, float* y, int64_t ldy,
                         bool accumulate) {
  const auto *x = static_cast<const typename A::Element*>(x_any), *w = static_cast<const typename A::Element*>(w_any);
  switch (rows) {
    case 1:
      return product_rows<A, 1>(x, w, k, y, ldy, accumulate);
    case 2:
      return product_rows<A, 2>(x, w, k, y, ldy, accumulate);
    case 3:
      return product_rows<A, 3>(x, w, k, y, ldy, accumulate);
#if defined(__AVX512F__)
    case 4:
      return product_rows<A, 4>(x, w, k, y, ldy, accumulate);
    case 5:
      return product_rows<A, 5>(x, w, k, y, ldy, accumulate);
    case 6:
      return product_rows<A, 6>(x, w, k, y, ldy, accumulate);
#endif
  }
}

template <class A, class W>
static void pack_rows_of(const W* from, int64_t stride, int count, int width, int64_t k, typename A::Element* panel) {
  for (int64_t i = 0; i < k; i += A::step, panel += width * A::step) {
    for (int r = 0; r < count; ++r) {
      __builtin_prefetch(from + (r + count) * stride + i);  // the next panel's, which begins on other pages
      const typename A::Register v =
          i + A::step <= k ? A::read(from + r * stride + i) : A::read_part(from + r * stride + i, k - i);
      std::memcpy(panel + r * A::step, &v, sizeof v);
    }
    if (count < width) std::memset(panel + count * A::step, 0, size_t((width - count) * A::step) * sizeof *panel);
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

// R weight rows against T rows of x: each weight register is loaded once and used T times.
template <class A, int R, int T, class W>
static inline void few_block(const typename A::Element* x, int64_t ldx, const W* w, int64_t ldw, int64_t k, float* y,
                             int64_t ldy) {
  for (int64_t first = 0; first == 0 || first < k; first += A::depth) {
    const int64_t end = k - first < A::depth ? k : first + A::depth;
    F acc[R][T] = {};
    int64_t i = first;
    for (; i + A::step <= end; i += A::step) {
      typename A::Register in[T];
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) in[t] = A::read(x + t * ldx + i);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const typename A::Register weight = A::read(w + r * ldw + i);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) acc[r][t] = A::add_products(weight, in[t], acc[r][t]);
      }
    }
    if (i < end)
      for (int r = 0; r < R; ++r)
        for (int t = 0; t < T; ++t)
          acc[r][t] = A::add_products(A::read_part(w + r * ldw + i, end - i), A::read_part(x + t * ldx + i, end - i),
                                      acc[r][t]);
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) {
        float& to = y[t * ldy + r];
        const float sum = reduce_add(acc[r][t]);
        to = first == 0 ? sum : to + sum;
      }
  }
}

template <class A, int T, class W>
static void few_rows(const typename A::Element* x, int64_t ldx, const W* w, int64_t ldw, int64_t k, int64_t n0,
                     int64_t n1, float* y, int64_t ldy) {
  constexpr int R = T <= 2 ? 4 : (kLanes >= 16 && T <= 6) ? 4 : 2;
  int64_t n = n0;
  for (; n + R <= n1; n += R) few_block<A, R, T>(x, ldx, w + n * ldw, ldw, k, y + n, ldy);
  for (; n < n1; ++n) few_block<A, 1, T>(x, ldx, w + n * ldw, ldw, k, y + n, ldy);
}

template <class A, class W>
static void few_of(const typename A::Element* x, int64_t ldx, int rows, const W* w, int64_t ldw, int64_t k, int64_t n0,
                   int64_t n1, float* y, int64_t ldy) {
  switch (rows) {
    case 1:
      return few_rows<A, 1>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 2:
      return few_rows<A, 2>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 3:
      return few_rows<A, 3>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 4:
      return few_rows<A, 4>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 5:
      return few_rows<A, 5>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 6:
      return few_rows<A, 6>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 7:
      return few_rows<A, 7>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 8:
      return few_rows<A, 8>(x, ldx, w, ldw, k, n0, n1, y, ldy);
  }
}

template <class A>
static void few_products(const void* x_any, int64_t ldx, int rows, const void* w, DType dtype, int64_t ldw, int64_t k,
                         int64_t n0, int64_t n1, float* y, int64_t ldy) {
  const auto* x = static_cast<const typename A::Element*>(x_any);
  if (dtype == DType::bf16) return few_of<A>(x, ldx, rows, static_cast<const bf16_t*>(w), ldw, k, n0, n1, y, ldy);
  if (dtype == DType::f16) return few_of<A>(x, ldx, rows, static_cast<const f16_t*>(w), ldw, k, n0, n1, y, ldy);
  if constexpr (sizeof *x == sizeof(float))
    few_of<A>(x, ldx, rows, static_cast<const float*>(w), ldw, k, n0, n1, y, ldy);
}

}  // namespace vpref::cpu::VPREF_ISA
