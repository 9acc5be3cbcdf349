// SPDX-License-Identifier: Apache-2.0
// Kernels over tiles of matrices: products, and the two steps of tiled attention.
#pragma once
#include "backend/cpu/simd.h"

namespace vpref::cpu::VPREF_ISA {

// M x (NV registers) of c stay in registers over the whole k loop.
template <int M, int NV>
static void micro(int64_t k, Strided a, Rows<const float> b, Rows<float> c, bool accumulate) {
  F acc[M][NV] = {};
  // Only every fourth row of a has an address register; the others use offsets from it.
  const float* row[(M + 3) / 4];
  for (int i = 0; i < (M + 3) / 4; ++i) row[i] = a.data + 4 * i * a.row;
  for (int64_t p = 0; p < k; ++p) {
    F column[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) column[j] = load(b.data + j * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const F value = splat(row[i / 4][(i % 4) * a.row]);
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[i][j] = fma(value, column[j], acc[i][j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < (M + 3) / 4; ++i) row[i] += a.col;
    b.data += b.stride;
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      float* to = c.data + i * c.stride + j * kLanes;
      store(to, accumulate ? load(to) + acc[i][j] : acc[i][j]);
    }
}

using Micro = void (*)(int64_t, Strided, Rows<const float>, Rows<float>, bool);

template <int NV>
static inline Micro micro_of(int64_t m) {
  static constexpr Micro of[] = {
      nullptr,      micro<1, NV>, micro<2, NV>, micro<3, NV>,  micro<4, NV>,  micro<5, NV>,  micro<6, NV>,
#if defined(__AVX512F__)
      micro<7, NV>, micro<8, NV>, micro<9, NV>, micro<10, NV>, micro<11, NV>, micro<12, NV>,
#endif
  };
  return of[m];
}

// Columns that do not fill a register: plain loops over a copy of b padded to one register.
static void gemm_narrow(int64_t m, int64_t n, int64_t k, const Strided& a, Rows<const float> b, Rows<float> c,
                        bool accumulate) {
  for (int64_t i = 0; i < m; ++i) {
    F acc{};
    for (int64_t p = 0; p < k; ++p)
      acc = fma(splat(a.data[i * a.row + p * a.col]), load_part(b.data + p * b.stride, n), acc);
    float* to = c.data + i * c.stride;
    if (accumulate) acc += load_part(to, n);
    store_part(to, acc, n);
  }
}

static void gemm_tile(int64_t m, int64_t n, int64_t k, const Strided& a, Rows<const float> b, Rows<float> c,
                      bool accumulate) {
  int64_t j = 0;
  const auto b_at = [&] { return Rows<const float>{b.data + j, b.stride}; };
  const auto c_at = [&](int64_t i) { return Rows<float>{c.data + i * c.stride + j, c.stride}; };
  while (j + kLanes <= n) {
    const int wide = j + 2 * kLanes <= n;
    for (int64_t i = 0; i < m; i += kTileRows) {
      const int64_t rows = m - i < kTileRows ? m - i : kTileRows;
      (wide ? micro_of<2>(rows) : micro_of<1>(rows))(k, {a.data + i * a.row, a.row, a.col}, b_at(), c_at(i),
                                                     accumulate);
    }
    j += (1 + wide) * kLanes;
  }
  if (j < n) gemm_narrow(m, n - j, k, a, b_at(), c_at(0), accumulate);
}

// NV registers from `col` on (the first `part` lanes of one register, if not 0) of T sums stay in registers.
template <int T, int NV, class E>
static void weighted_columns(int64_t n, Rows<const float> weights, const void* const* rows, int64_t col, int64_t part,
                             Rows<float> y) {
  F acc[T][NV] = {};
  for (int64_t j = 0; j < n; ++j) {
    const E* from = static_cast<const E*>(rows[j]) + col;
    F value[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) value[v] = part == 0 ? load(from + v * kLanes) : load_part(from, part);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      const F weight = splat(weights.data[t * weights.stride + j]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[t][v] = fma(weight, value[v], acc[t][v]);
    }
  }
  for (int t = 0; t < T; ++t)
    for (int v = 0; v < NV; ++v) {
      float* to = y.data + t * y.stride + v * kLanes;
      if (part == 0)
        store(to, load(to) + acc[t][v]);
      else
        store_part(to, load_part(to, part) + acc[t][v], part);
    }
}

template <int T, class E>
static void weighted_rows(int64_t d, int64_t n, Rows<const float> weights, const RowList& x, Rows<float> y) {
  constexpr int kVectors = T == 1 || kVectorBytes == 64 ? 4 : 2;
  int64_t c = 0;
  const auto to = [&] { return Rows<float>{y.data + c, y.stride}; };
  for (; c + kVectors * kLanes <= d; c += kVectors * kLanes)
    weighted_columns<T, kVectors, E>(n, weights, x.rows, x.col + c, 0, to());
  for (; c < d; c += kLanes) weighted_columns<T, 1, E>(n, weights, x.rows, x.col + c, d - c < kLanes ? d - c : 0, to());
}

template <class E>
static void weighted_sums_of(int64_t count, int64_t d, int64_t n, Rows<const float> weights, const RowList& x,
                             Rows<float> y) {
  constexpr int64_t kRows = 4;  // sums at a time
  static constexpr decltype(&weighted_rows<1, E>) of[] = {weighted_rows<1, E>, weighted_rows<2, E>, weighted_rows<3, E>,
                                                          weighted_rows<4, E>};
  static_assert(sizeof of / sizeof *of == kRows);
  for (int64_t t = 0; t < count; t += kRows)
    of[(count - t < kRows ? count - t : kRows) - 1](d, n, {weights.data + t * weights.stride, weights.stride}, x,
                                                    {y.data + t * y.stride, y.stride});
}

static void weighted_sums(int64_t count, int64_t d, int64_t n, Rows<const float> weights, const RowList& x,
                          Rows<float> y) {
  (x.dtype == DType::f32 ? weighted_sums_of<float> : weighted_sums_of<bf16_t>)(count, d, n, weights, x, y);
}

static bool softmax_step(float* s, int64_t k, int64_t lanes_q, float* max_of, float* sum_of, float* correction) {
  bool changed = false;
  for (int64_t j = 0; j < lanes_q; j += kLanes) {
    const F old = load(max_of + j);
    F m = old;
    for (int64_t i = 0; i < k; ++i) m = max(m, load(s + i * lanes_q + j));
    // A query without visible keys keeps the maximum -inf. 0 replaces it in the subtraction, so that inf - inf does not
    // occur.
    const F nothing = splat(-__builtin_inff());
    const F base = m == nothing ? F{} : m;
    const F factor = exp(old - base);
    F total = load(sum_of + j) * factor;
    F other{};
    int64_t i = 0;
    for (; i + 2 <= k; i += 2) {
      const F p = exp(load(s + i * lanes_q + j) - base), q = exp(load(s + (i + 1) * lanes_q + j) - base);
      store(s + i * lanes_q + j, p);
      store(s + (i + 1) * lanes_q + j, q);
      total += p;
      other += q;
    }
    if (i < k) {
      const F p = exp(load(s + i * lanes_q + j) - base);
      store(s + i * lanes_q + j, p);
      total += p;
    }
    store(max_of + j, m);
    store(sum_of + j, total + other);
    store(correction + j, factor);
    for (int lane = 0; lane < kLanes; ++lane) changed |= correction[j + lane] != 1.0f;
  }
  return changed;
}

static void softmax_backward(float* p, float* ds, int64_t k, int64_t lanes_q, const float* lse, const float* delta) {
  for (int64_t j = 0; j < lanes_q; j += kLanes) {
    const F l = load(lse + j), d = load(delta + j);
    for (int64_t i = 0; i < k; ++i) {
      const F e = exp(load(p + i * lanes_q + j) - l);
      store(p + i * lanes_q + j, e);
      store(ds + i * lanes_q + j, e * (load(ds + i * lanes_q + j) - d));
    }
  }
}

}  // namespace vpref::cpu::VPREF_ISA
