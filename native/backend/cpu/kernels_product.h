// SPDX-License-Identifier: Apache-2.0
// Kernels of linear layers (ProductKernels). A register holds the sums of kLanes columns, each summed along k
// separately, so the number of rows and columns of a kernel does not change the order.
#pragma once
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

// One register of each of kLanes rows, transposed: `size` elements of every row. unit(j): unit j of all rows.
template <class A, class W>
struct Columns {
  static constexpr int64_t size = A::step;
  F columns[kLanes];
  VPREF_INLINE void read(const W* const (&row)[kLanes], int64_t i) {
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) columns[r] = (F)A::read(row[r] + i);
    transpose(columns);
  }
  // The first n of `size` elements, then zeros.
  void read_part(const W* const (&row)[kLanes], int64_t i, int64_t n) {
    for (int r = 0; r < kLanes; ++r) columns[r] = (F)A::read_part(row[r] + i, n);
    transpose(columns);
  }
  VPREF_INLINE typename A::Register unit(int j) const { return (typename A::Register)columns[j]; }
};

// bf16 weights of f32 products: a lane holds two numbers of a row, so half as much is transposed.
template <>
struct Columns<F32, bf16_t> {
  static constexpr int64_t size = 2 * kLanes;
  F pairs[kLanes];
  VPREF_INLINE void read(const bf16_t* const (&row)[kLanes], int64_t i) {
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) std::memcpy(&pairs[r], row[r] + i, sizeof(F));
    transpose(pairs);
  }
  void read_part(const bf16_t* const (&row)[kLanes], int64_t i, int64_t n) {
    for (int r = 0; r < kLanes; ++r) pairs[r] = load_bytes(row[r] + i, n * int64_t(sizeof(bf16_t)));
    transpose(pairs);
  }
  VPREF_INLINE F unit(int j) const { return half_of((U)pairs[j / 2], j % 2); }
};

// Pointers to rows [first, first + kLanes) of `count`; the last row is repeated beyond it.
template <class W>
static inline void row_pointers(const W* from, int64_t stride, int64_t first, int64_t count, const W* (&row)[kLanes]) {
  for (int r = 0; r < kLanes; ++r) row[r] = from + (first + r < count ? first + r : count - 1) * stride;
}

// Elements before the first register of a row that lies in one line of the cache; 0 if that is not so in all rows. A
// line that is read twice may be gone in between: rows a power of two apart share the same few places of the cache.
template <class A, class W>
static inline int64_t unaligned_elements(const W* const (&row)[kLanes]) {
  constexpr size_t kBytes = Columns<A, W>::size * sizeof(W);
  const size_t over = reinterpret_cast<uintptr_t>(row[0]) % kBytes;
  for (const W* other : row)
    if (reinterpret_cast<uintptr_t>(other) % kBytes != over) return 0;
  return over == 0 || over % (A::unit * sizeof(W)) != 0 ? 0 : int64_t((kBytes - over) / sizeof(W));
}

template <class A, class W>
static void pack_rows_of(const W* from, int64_t stride, int count, int width, int64_t k, typename A::Element* panel) {
  constexpr int64_t kAhead = 8 * kLanes;
  constexpr int64_t kUnits = Columns<A, W>::size / A::unit;
  const int64_t units = (k + A::step - 1) / A::step * kLanes;
  for (int g = 0; g < width; g += kLanes) {
    const W* row[kLanes];
    row_pointers(from, stride, g, count, row);
    const int lanes = width - g < kLanes ? width - g : kLanes;
    const int64_t before = unaligned_elements<A>(row);
    for (int64_t u = 0, count; u < units; u += count) {
      // The hardware does not follow so many streams: the rows further on, then the next rows.
      const int64_t next =
          u + kAhead < units ? (u + kAhead) * A::unit : (u + kAhead - units) * A::unit + kLanes * stride;
      for (int r = 0; r < kLanes; ++r) __builtin_prefetch(row[r] + next, 0, 2);
      Columns<A, W> columns;
      const int64_t i = u * A::unit, elements = u == 0 && before > 0 ? before : columns.size;
      if (elements == columns.size && i + columns.size <= k)
        columns.read(row, i);
      else
        columns.read_part(row, i, k - i < 0 ? 0 : k - i < elements ? k - i : elements);
      count = elements / A::unit < units - u ? elements / A::unit : units - u;
      typename A::Element* to = panel + (u * width + g) * A::unit;
      const auto put = [&](int j, size_t bytes) VPREF_INLINE {
        const auto unit = columns.unit(j);
        std::memcpy(to + j * width * A::unit, &unit, bytes);
      };
      // A whole register overwrites values beyond a narrow panel: up to kLanes units further on, which later stores
      // correct.
      if (count == kUnits && (lanes == kLanes || (g == 0 && u + kUnits + kLanes <= units))) {
#pragma GCC unroll 32
        for (int j = 0; j < kUnits; ++j) put(j, sizeof(F));
      } else {
        for (int j = 0; j < count; ++j) put(j, size_t(lanes) * sizeof(float));
      }
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

}  // namespace vpref::cpu::VPREF_ISA
