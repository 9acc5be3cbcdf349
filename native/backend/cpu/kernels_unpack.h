// SPDX-License-Identifier: Apache-2.0
// Unpacks codes of one scale along a row (PackedKernels::unpack).
#pragma once
#include "backend/cpu/simd.h"

namespace vpref::cpu::VPREF_ISA {

// Sixteen products of the book; a register of codes looks its numbers up in them.
struct Products {
#if defined(__AVX512F__)
  F products;
  Products(const float* book, float scale) : products(load(book) * splat(scale)) {}
  VPREF_INLINE F at(const uint8_t* codes) const {
    const __m128i both = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes));
    return (F)_mm512_permutexvar_ps(_mm512_cvtepu8_epi32(in_order(both)), (__m512)products);
  }
#elif defined(__AVX2__)
  F low, high;
  Products(const float* book, float scale) : low(load(book) * splat(scale)), high(load(book + 8) * splat(scale)) {}
  VPREF_INLINE F at(const uint8_t* codes) const {
    int32_t four;
    std::memcpy(&four, codes, sizeof four);
    const __m256i at = _mm256_cvtepu8_epi32(in_order(_mm_cvtsi32_si128(four)));
    return (F)_mm256_blendv_ps(_mm256_permutevar8x32_ps((__m256)low, at), _mm256_permutevar8x32_ps((__m256)high, at),
                               (__m256)_mm256_slli_epi32(at, 28));
  }
#else
  float products[16];
  Products(const float* book, float scale) {
    for (int i = 0; i < 16; ++i) products[i] = book[i] * scale;
  }
  VPREF_INLINE F at(const uint8_t* codes) const {
    F out{};
    for (int i = 0; i < kLanes; i += 2) {
      out[i] = products[codes[i / 2] >> 4];
      out[i + 1] = products[codes[i / 2] & 15];
    }
    return out;
  }
#endif
#if defined(__AVX512F__) || defined(__AVX2__)
  // One byte per code, in order. A 16-bit shift moves in bits of the next byte; the mask removes them.
  static VPREF_INLINE __m128i in_order(__m128i both) {
    const __m128i half = _mm_set1_epi8(15);
    return _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(both, 4), half), _mm_and_si128(both, half));
  }
#endif
};

// A register of signed bytes as numbers. By intrinsics where the compiler would convert them one at a time.
static inline F bytes_as_f32(const uint8_t* codes) {
#if defined(__AVX512F__)
  return (F)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes))));
#elif defined(__AVX2__)
  return (F)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes))));
#else
  typedef int8_t B __attribute__((vector_size(kLanes)));
  B some;
  std::memcpy(&some, codes, sizeof some);
  return __builtin_convertvector(some, F);
#endif
}

static void unpack_codes(const uint8_t* codes, const float* book, float scale, int64_t n, float* y) {
  const int64_t whole = n / kLanes * kLanes;
  if (book == nullptr) {
    for (int64_t i = 0; i < whole; i += kLanes) store(y + i, bytes_as_f32(codes + i) * splat(scale));
    for (int64_t i = whole; i < n; ++i) y[i] = float(int8_t(codes[i])) * scale;
    return;
  }
  const Products products(book, scale);
  for (int64_t i = 0; i < whole; i += kLanes) store(y + i, products.at(codes + i / 2));
  for (int64_t i = whole; i < n; ++i) y[i] = book[i % 2 == 0 ? codes[i / 2] >> 4 : codes[i / 2] & 15] * scale;
}

}  // namespace vpref::cpu::VPREF_ISA
