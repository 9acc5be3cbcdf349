// SPDX-License-Identifier: Apache-2.0
// Kernels of packed weights (PackedKernels). A lane holds the codes of one row, so one transposition serves all codes
// of a lane. Each code is converted to a number in its lane, beside the other rows' codes of the same k. The products
// of a scale are summed along k, and their sum is scaled: a multiplication per sum, not per weight.
#pragma once
#include "backend/cpu/kernels.h"
#include "backend/cpu/kernels_product.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/transpose.h"

namespace vpref::cpu::VPREF_ISA {

#define VPREF_INLINE __attribute__((always_inline))

// The codes of a register of lanes, read from memory from any of its bytes on: that spares shifts. `value` returns the
// numbers of code `e` of every lane, before the scale.
struct EightBit {
  static constexpr int64_t per_lane = 4, scaled_lanes = 0;  // scaled_lanes: lanes per scale; 0: one scale for all
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

// The codes of G registers of rows from row `first` on, a register's width of bytes at a time, transposed. Bytes are
// first copied in longer pieces of a row if rows are a power of two apart, where a column of them shares cache sets.
template <int G>
class CodeColumns {
 public:
  CodeColumns(const CodeRows& w, int first, int64_t bytes)
      : bytes_(bytes), ahead_(w.ahead), copies_(w.stride % kSharedSets == 0) {
    for (int r = 0; r < G * kLanes; ++r) row_[r] = w.codes + (first + r < w.count ? first + r : w.count - 1) * w.stride;
  }

  // Bytes [at, at + kVectorBytes) of the rows, zeros beyond the end.
  VPREF_INLINE void read(int64_t at) {
    const bool direct = !copies_ && at + kVectorBytes <= bytes_;
    if (!direct && at >= piece_end_) {
      copy_piece(at);
      piece_end_ = at + kPiece;
    }
    const uint8_t* piece = piece_ + (at + kPiece - piece_end_);
    for (int g = 0; g < G; ++g) {
      F columns[kLanes];
      if (direct) {
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; ++r) std::memcpy(&columns[r], row_[g * kLanes + r] + at, sizeof(F));
      } else {
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; ++r) std::memcpy(&columns[r], piece + (g * kLanes + r) * kPitch, sizeof(F));
      }
      transpose(columns);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) std::memcpy(lanes_ + (j * G + g) * kVectorBytes, &columns[j], sizeof(F));
    }
  }
  VPREF_INLINE const uint8_t* lanes(int64_t j, int g) const { return lanes_ + (j * G + g) * kVectorBytes; }
  // One row of each register per call: many requests at a time would wait for each other.
  VPREF_INLINE void prefetch(int64_t at, int64_t row) const {
    for (int g = 0; g < G; ++g) __builtin_prefetch(row_[g * kLanes + row] + at + ahead_, 0, 2);
  }

 private:
  static constexpr int64_t kPiece = 4 * kVectorBytes, kPitch = kPiece + 64, kSharedSets = 1024;

  VPREF_INLINE void copy_piece(int64_t at) {
    const int64_t left = bytes_ - at;
    if (left >= kPiece) return copy_registers<kPiece / kVectorBytes>(at);
    if (left >= kPiece / 2) copy_registers<kPiece / kVectorBytes / 2>(at);
    for (int64_t c = left >= kPiece / 2 ? kPiece / 2 : 0; c < left; c += kVectorBytes)
      for (int r = 0; r < G * kLanes; ++r) {
        uint8_t part[kVectorBytes] = {};
        std::memcpy(part, row_[r] + at + c, size_t(left - c < kVectorBytes ? left - c : kVectorBytes));
        std::memcpy(piece_ + r * kPitch + c, part, sizeof part);
      }
  }

  template <int Count>
  VPREF_INLINE void copy_registers(int64_t at) {
    for (int r = 0; r < G * kLanes; ++r) {
      F some[Count];
#pragma GCC unroll 4
      for (int c = 0; c < Count; ++c) std::memcpy(&some[c], row_[r] + at + c * kVectorBytes, sizeof(F));
#pragma GCC unroll 4
      for (int c = 0; c < Count; ++c) std::memcpy(piece_ + r * kPitch + c * kVectorBytes, &some[c], sizeof(F));
    }
  }

  const uint8_t* row_[G * kLanes];
  int64_t bytes_, ahead_, piece_end_ = 0;
  bool copies_;
  alignas(64) uint8_t lanes_[kLanes * G * kVectorBytes + 64];  // the last register is read beyond its end
  alignas(64) uint8_t piece_[G * kLanes * kPitch];
};

// Calls use(i, values) with the values of the codes i of G registers of rows, i by i, with zeros from k on, up to a
// multiple of kLanes; and scaled() after the last code of a scale.
template <class C, int G, class Use, class Scaled>
static inline VPREF_INLINE void each_column(const CodeRows& w, int first_row, int64_t k, const Use& use,
                                            const Scaled& scaled) {
  constexpr int64_t kWidth = kLanes * C::per_lane;
  const C codes(w.book);
  CodeColumns<G> columns(w, first_row, k * 4 / C::per_lane);
  for (int64_t i = 0; i < k; i += kWidth) {
    columns.read(i * 4 / C::per_lane);
    const int64_t left = (k - i + kLanes - 1) / kLanes * kLanes;
    const int64_t count = left < kWidth ? left / C::per_lane : kLanes;
    for (int64_t j = 0; j < count; ++j) {
      columns.prefetch(i * 4 / C::per_lane, j);
#pragma GCC unroll 8
      for (int e = 0; e < C::per_lane; ++e) {
        F value[G];
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) value[g] = codes.value(columns.lanes(j, g), e);
        use(i + j * C::per_lane + e, value);
      }
      if constexpr (C::scaled_lanes != 0)
        if ((i / C::per_lane + j + 1) % C::scaled_lanes == 0) scaled();
    }
  }
  if constexpr (C::scaled_lanes == 0) scaled();
}

// More registers of rows give more independent sums, which hides latency; only if T rows of x leave enough registers.
template <int T>
constexpr int kPackedGroups = T == 1                         ? 4
                              : T <= 4 && kVectorBytes == 64 ? 2
                                                             : 1;
static_assert(kPackedCols % (4 * kLanes) == 0);

template <class C, int T>
static void packed_rows(Rows<const float> x, const CodeRows& w, int64_t k, float* y, bool accumulate) {
  constexpr int G = kPackedGroups<T>;
  for (int n = 0; n < w.count; n += G * kLanes) {
    F sums[T][G], acc[T][G] = {};
    for (int t = 0; t < T; ++t)
      for (int g = 0; g < G; ++g) sums[t][g] = accumulate ? load(y + t * kPackedCols + n + g * kLanes) : F{};
    const auto use = [&](int64_t i, const F(&value)[G]) VPREF_INLINE {
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) {
        const F xi = splat(x.data[t * x.stride + i]);
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) acc[t][g] = fma(xi, value[g], acc[t][g]);
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
    each_column<C, G>(w, n, k, use, scaled);
    for (int t = 0; t < T; ++t)
      for (int g = 0; g < G; ++g) store(y + t * kPackedCols + n + g * kLanes, sums[t][g]);
  }
}

template <class C>
static void packed_skinny_of(Rows<const float> x, int rows, const CodeRows& w, int64_t k, float* y, bool accumulate) {
  using Skinny = void (*)(Rows<const float>, const CodeRows&, int64_t, float*, bool);
  static constexpr Skinny of[] = {
      nullptr,           packed_rows<C, 1>,  packed_rows<C, 2>,  packed_rows<C, 3>,  packed_rows<C, 4>,
      packed_rows<C, 5>, packed_rows<C, 6>,  packed_rows<C, 7>,  packed_rows<C, 8>,
#if defined(__AVX512F__)
      packed_rows<C, 9>, packed_rows<C, 10>, packed_rows<C, 11>, packed_rows<C, 12>,
#endif
  };
  static_assert(sizeof of / sizeof *of == kSkinnyRows + 1);
  // Weights beyond k are zeros, so x is padded with zeros too.
  float padded[kSkinnyRows * kMaxDepth];
  if (k % kLanes != 0) {
    for (int t = 0; t < rows; ++t) {
      float* to = padded + t * kMaxDepth;
      std::memcpy(to, x.data + t * x.stride, size_t(k) * sizeof(float));
      std::memset(to + k, 0, size_t(kLanes - k % kLanes) * sizeof(float));
    }
    x = {padded, kMaxDepth};
  }
  of[rows](x, w, k, y, accumulate);
}

static void packed_skinny(Rows<const float> x, int rows, const CodeRows& w, int64_t k, float* y, bool accumulate) {
  (w.book ? packed_skinny_of<FourBit> : packed_skinny_of<EightBit>)(x, rows, w, k, y, accumulate);
}

template <class C>
static void pack_codes_of(const CodeRows& w, int64_t k, float* panel) {
  const auto put = [&](int64_t i, const F(&value)[kPanelVectors]) VPREF_INLINE {
    for (int g = 0; g < kPanelVectors; ++g) store(panel + i * kProductCols + g * kLanes, value[g]);
  };
  each_column<C, kPanelVectors>(w, 0, k, put, [] {});
}

static void pack_codes(const CodeRows& w, int64_t k, float* panel) {
  (w.book ? pack_codes_of<FourBit> : pack_codes_of<EightBit>)(w, k, panel);
}

#undef VPREF_INLINE

}  // namespace vpref::cpu::VPREF_ISA
