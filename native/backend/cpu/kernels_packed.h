// SPDX-License-Identifier: Apache-2.0
// Kernels of packed weights (ProductKernels). Each code is converted to a number in its lane, beside the other rows'
// codes of the same k. The products of a scale are summed along k, and their sum is scaled: a multiplication per sum,
// not per weight.
#pragma once
#include "backend/cpu/kernels.h"
#include "backend/cpu/kernels_product.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/transpose.h"

namespace vpref::cpu::VPREF_ISA {

// The codes of a register of lanes, read from memory from any of its bytes on: that spares shifts. `value` returns the
// numbers of unit `e` of every lane (F32: a code), before the scale.
struct EightBit {
  static constexpr int64_t per_lane = 4, scaled_lanes = 0;  // codes; lanes per scale, 0: one scale for all
  explicit EightBit(const float*) {}
  VPREF_INLINE F value(const uint8_t* lanes, int e) const {
    U at;
    std::memcpy(&at, lanes + e, sizeof at);
#if defined(__AVX512F__)
    // The code plus 128 as the low bits of a float's mantissa.
    constexpr int kXorOfAnd = 0x6a;
    return (F)_mm512_ternarylogic_epi32((__m512i)at, _mm512_set1_epi32(0xff), _mm512_set1_epi32(0x4b000080),
                                        kXorOfAnd) -
           splat(0x1p23f + 128);
#else
    return __builtin_convertvector((I)(at << 24) >> 24, F);
#endif
  }
};

struct FourBit {
  static constexpr int64_t per_lane = 8, scaled_lanes = kScaledCodes / per_lane;
  VPREF_INLINE U index(const uint8_t* lanes, int e) const {
    U at;
    std::memcpy(&at, lanes + e / 2, sizeof at);
    return e % 2 == 0 ? at >> 4 : at;
  }
#if defined(__AVX512F__)
  F book;
  explicit FourBit(const float* values) : book(load(values)) {}
  VPREF_INLINE F value(const uint8_t* lanes, int e) const {
    return (F)_mm512_permutexvar_ps((__m512i)index(lanes, e), (__m512)book);
  }
#elif defined(__AVX2__)
  F low, high;
  explicit FourBit(const float* values) : low(load(values)), high(load(values + 8)) {}
  VPREF_INLINE F value(const uint8_t* lanes, int e) const {
    const U at = index(lanes, e);
    return (F)_mm256_blendv_ps(_mm256_permutevar8x32_ps((__m256)low, (__m256i)at),
                               _mm256_permutevar8x32_ps((__m256)high, (__m256i)at), (__m256)(at << 28));
  }
#else
  const float* book;
  explicit FourBit(const float* values) : book(values) {}
  VPREF_INLINE F value(const uint8_t* lanes, int e) const {
    const U at = index(lanes, e) & 15u;
    F out{};
    for (int i = 0; i < kLanes; ++i) out[i] = book[at[i]];
    return out;
  }
#endif
};

// Calls use(i, values) with the values of unit i of G registers of rows from `first_row` on, unit by unit, up to a
// multiple of A::step from k on; and scaled() after the last code of a scale. Code that passes a block once requests
// what it reads soon; more passes find the block in cache, and request their part of the next one.
template <class A, class C, int G, class Use, class Scaled>
static inline VPREF_INLINE void each_column(const InterleavedCodes& w, int first_row, int64_t k, const Use& use,
                                            const Scaled& scaled) {
  constexpr int64_t kRowBytes = 4, kStep = kPackedCols * kRowBytes, kUnits = C::per_lane / A::unit;
  constexpr bool kOnce = G * kLanes == kPackedCols;
  constexpr int64_t kAhead = kOnce ? 6144 : A::depth / C::per_lane * kStep;
  constexpr int kCache = kOnce ? 2 : 3;  // that it goes to: second level, first level
  const C codes(w.book);
  const uint8_t* lanes = w.codes + first_row * kRowBytes;
  const int64_t count = (k + A::step - 1) / A::step * A::step / C::per_lane;
  for (int64_t j = 0; j < count; ++j, lanes += kStep) {
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) __builtin_prefetch(lanes + g * kVectorBytes + kAhead, 0, kCache);
#pragma GCC unroll 8
    for (int e = 0; e < kUnits; ++e) {
      typename A::Register value[G];
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) value[g] = codes.value(lanes + g * kVectorBytes, e);
      use(j * kUnits + e, value);
    }
    if constexpr (C::scaled_lanes != 0)
      if ((j + 1) % C::scaled_lanes == 0) scaled();
  }
  if constexpr (C::scaled_lanes == 0) scaled();
}

// More registers of rows give more independent sums, which hides latency; only if T rows of x leave enough registers.
template <int T>
constexpr int kPackedGroups = T == 1                         ? 4
                              : T <= 4 && kVectorBytes == 64 ? 2
                                                             : 1;
static_assert(kPackedCols % (4 * kLanes) == 0);

template <class A, class C, int T>
static void packed_rows(Rows<const typename A::Element> x, const InterleavedCodes& w, int64_t k, float* y,
                        bool accumulate) {
  constexpr int G = kPackedGroups<T>;
  for (int n = 0; n < kPackedCols; n += G * kLanes) {
    F sums[T][G], acc[T][G] = {};
    for (int t = 0; t < T; ++t)
      for (int g = 0; g < G; ++g) sums[t][g] = accumulate ? load(y + t * kPackedCols + n + g * kLanes) : F{};
    const auto use = [&](int64_t i, const typename A::Register(&value)[G]) VPREF_INLINE {
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) {
        const typename A::Register xi = A::everywhere(x.data + t * x.stride + i * A::unit);
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) acc[t][g] = A::add_products(xi, value[g], acc[t][g]);
      }
    };
    const float* scales = w.scales + n;
    const auto scaled = [&]() VPREF_INLINE {
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) {
        const F scale = load(scales + g * kLanes);
#pragma GCC unroll 16
        for (int t = 0; t < T; ++t) {
          sums[t][g] = fma(acc[t][g], scale, sums[t][g]);
          acc[t][g] = F{};
        }
      }
      scales += kPackedCols;
    };
    each_column<A, C, G>(w, n, k, use, scaled);
    for (int t = 0; t < T; ++t)
      for (int g = 0; g < G; ++g) store(y + t * kPackedCols + n + g * kLanes, sums[t][g]);
  }
}

template <class A, class C>
static void skinny_codes_of(Rows<const typename A::Element> x, int rows, const InterleavedCodes& w, int64_t k, float* y,
                            bool accumulate) {
  using E = typename A::Element;
  using Skinny = void (*)(Rows<const E>, const InterleavedCodes&, int64_t, float*, bool);
  static constexpr Skinny of[] = {
      nullptr,
      packed_rows<A, C, 1>,
      packed_rows<A, C, 2>,
      packed_rows<A, C, 3>,
      packed_rows<A, C, 4>,
      packed_rows<A, C, 5>,
      packed_rows<A, C, 6>,
      packed_rows<A, C, 7>,
      packed_rows<A, C, 8>,
#if defined(__AVX512F__)
      packed_rows<A, C, 9>,
      packed_rows<A, C, 10>,
      packed_rows<A, C, 11>,
      packed_rows<A, C, 12>,
#endif
  };
  static_assert(sizeof of / sizeof *of == kSkinnyRows + 1);
  // Codes beyond k are zeros, so x is padded with zeros too.
  E padded[kSkinnyRows * A::depth];
  if (k % A::step != 0) {
    for (int t = 0; t < rows; ++t) {
      E* to = padded + t * A::depth;
      std::memcpy(to, x.data + t * x.stride, size_t(k) * sizeof(E));
      std::memset(to + k, 0, size_t(A::step - k % A::step) * sizeof(E));
    }
    x = {padded, A::depth};
  }
  of[rows](x, w, k, y, accumulate);
}

template <class A, class Four, class Eight>
static void skinny_codes(Rows<const void> x_any, int rows, const InterleavedCodes& w, int64_t k, float* y,
                         bool accumulate) {
  const Rows<const typename A::Element> x{static_cast<const typename A::Element*>(x_any.data), x_any.stride};
  (w.book ? skinny_codes_of<A, Four> : skinny_codes_of<A, Eight>)(x, rows, w, k, y, accumulate);
}

template <class A, class C>
static void pack_codes_of(const InterleavedCodes& w, int64_t k, typename A::Element* panel) {
  const auto put = [&](int64_t i, const typename A::Register(&value)[kPanelVectors]) VPREF_INLINE {
    for (int g = 0; g < kPanelVectors; ++g)
      std::memcpy(panel + (i * kProductCols + g * kLanes) * A::unit, &value[g], sizeof value[g]);
  };
  each_column<A, C, kPanelVectors>(w, 0, k, put, [] {});
}

template <class A, class Four, class Eight>
static void pack_codes(const InterleavedCodes& w, int64_t k, void* panel) {
  (w.book ? pack_codes_of<A, Four> : pack_codes_of<A, Eight>)(w, k, static_cast<typename A::Element*>(panel));
}

template <class C>
static void unpack_rows_of(const InterleavedCodes& w, int64_t k, Rows<float> y) {
  constexpr int64_t kStep = kPackedCols * 4;
  const C codes(w.book);
  const float* scales = w.scales;
  F scale = load(scales);
  for (int64_t i = 0; i < k; i += kLanes) {
    if (C::scaled_lanes != 0 && i % kScaledCodes == 0) {
      scale = load(scales);
      scales += kPackedCols;
    }
    F values[kLanes];
#pragma GCC unroll 16
    for (int c = 0; c < kLanes; ++c)
      values[c] = codes.value(w.codes + (i + c) / C::per_lane * kStep, int((i + c) % C::per_lane)) * scale;
    transpose(values);
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) store(y.data + r * y.stride + i, values[r]);
  }
}

[[maybe_unused]] static void unpack_rows(const InterleavedCodes& w, int64_t k, Rows<float> y) {
  (w.book ? unpack_rows_of<FourBit> : unpack_rows_of<EightBit>)(w, k, y);
}

}  // namespace vpref::cpu::VPREF_ISA
