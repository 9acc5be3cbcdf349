// SPDX-License-Identifier: Apache-2.0
// Kernels of linear layers with few rows (ProductKernels::skinny): weights are read directly from memory, once, in the
// order of sums of kernels_product.h.
#pragma once
#include "backend/cpu/kernels.h"
#include "backend/cpu/kernels_product.h"
#include "backend/cpu/simd.h"

namespace vpref::cpu::VPREF_ISA {

// kLanes rows of weights times T rows of x, directly from memory. after: distance to the next rows. Every line is
// requested twice, the second time two registers later, and requests are spread over the products: the processor drops
// requests while too many are on their way.
template <class A, int T, class W>
static inline void skinny_columns(const typename A::Element* x, int64_t ldx, const W* const (&row)[kLanes],
                                  int64_t after, int64_t k, F (&sums)[T]) {
  using C = Columns<A, W>;
  constexpr int kUnits = int(C::size / A::unit);
  const bool is_short = k * int64_t(sizeof(W)) < kShortRowBytes;
  F acc[T] = {};
  // request(r) is called for each row, between the products.
  const auto add = [&](const C& columns, const typename A::Element* from, int64_t stride, int begin, int end,
                       auto request) VPREF_INLINE {
#pragma GCC unroll 32
    for (int j = begin; j < end; ++j) {
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t)
        acc[t] = A::add_products(A::everywhere(from + t * stride + j * A::unit), columns.unit(j), acc[t]);
      if (j % (kUnits / kLanes) == 0) request(j / (kUnits / kLanes));
    }
  };
  const auto add_part = [&](int64_t i, int64_t n) {
    constexpr int64_t kPerRegister = kVectorBytes / sizeof(typename A::Element);
    typename A::Element part[T][C::size];
    for (int t = 0; t < T; ++t)
      for (int64_t e = 0; e < C::size; e += kPerRegister) {
        const int64_t count = n - e < kPerRegister ? n - e : kPerRegister;
        const F values = count > 0 ? load_bytes(x + t * ldx + i + e, count * int64_t(sizeof *x)) : F{};
        std::memcpy(part[t] + e, &values, sizeof values);
      }
    C columns;
    columns.read_part(row, i, n);
    add(columns, part[0], C::size, 0, kUnits, [](int) {});
  };
  int64_t i = unaligned_elements<A>(row);
  if (i > k) i = 0;
  for (int64_t first = 0; first == 0 || first < k; first += A::depth) {
    const int64_t end = k - first < A::depth ? k : first + A::depth;
    const int64_t ahead = is_short ? after : end < k ? A::depth : after - first;
    const auto request = [&](int r) VPREF_INLINE {
      for (const int64_t before : {2 * C::size, int64_t(0)}) __builtin_prefetch(row[r] + ahead + i - before, 0, 2);
    };
    const auto request_all = [&]() VPREF_INLINE {
      for (int r = 0; r < kLanes; ++r) request(r);
    };
    if (first == 0 && i > 0) {
      request_all();
      add_part(0, i);
    }
    for (; i + C::size <= end; i += C::size) {
      C columns;
      columns.read(row, i);
      add(columns, x + i, ldx, 0, kUnits, request);
    }
    const auto finish = [&]() VPREF_INLINE {
      for (int t = 0; t < T; ++t) {
        sums[t] = first == 0 ? acc[t] : sums[t] + acc[t];
        acc[t] = F{};
      }
    };
    if (i < end && i + C::size <= k) {
      // The first units of this register belong to this sum, the others to the next.
      const int own = int((end - i) / A::unit);
      C columns;
      columns.read(row, i);
      add(columns, x + i, ldx, 0, own, request);
      finish();
      add(columns, x + i, ldx, own, kUnits, request);
      i += C::size;
    } else {
      if (i < end) {
        request_all();
        add_part(i, end - i);
      }
      i = end;
      finish();
    }
  }
}

template <class A, int T, class W>
static void skinny(Rows<const typename A::Element> x, Rows<const W> w, int64_t k, int64_t n0, int64_t n1,
                   Rows<float> y) {
  for (int64_t n = n0; n < n1; n += kLanes) {
    const W* row[kLanes];
    row_pointers(w.data, w.stride, n, n1, row);
    F sums[T] = {};
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
