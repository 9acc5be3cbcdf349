// SPDX-License-Identifier: Apache-2.0
// Transposes as many registers as a register has lanes.
#pragma once
#include "backend/cpu/simd.h"

namespace vpref::cpu::VPREF_ISA {

#if defined(__AVX512F__)
static inline void transpose(F (&row)[16]) {
  __m512 two[16], four[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    two[i] = _mm512_unpacklo_ps((__m512)row[i], (__m512)row[i + 1]);
    two[i + 1] = _mm512_unpackhi_ps((__m512)row[i], (__m512)row[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    four[i] = _mm512_shuffle_ps(two[i], two[i + 2], 0x44);
    four[i + 1] = _mm512_shuffle_ps(two[i], two[i + 2], 0xee);
    four[i + 2] = _mm512_shuffle_ps(two[i + 1], two[i + 3], 0x44);
    four[i + 3] = _mm512_shuffle_ps(two[i + 1], two[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 even = _mm512_shuffle_f32x4(four[i], four[i + 4], 0x88),
                 odd = _mm512_shuffle_f32x4(four[i], four[i + 4], 0xdd),
                 even_high = _mm512_shuffle_f32x4(four[i + 8], four[i + 12], 0x88),
                 odd_high = _mm512_shuffle_f32x4(four[i + 8], four[i + 12], 0xdd);
    row[i] = (F)_mm512_shuffle_f32x4(even, even_high, 0x88);
    row[i + 4] = (F)_mm512_shuffle_f32x4(odd, odd_high, 0x88);
    row[i + 8] = (F)_mm512_shuffle_f32x4(even, even_high, 0xdd);
    row[i + 12] = (F)_mm512_shuffle_f32x4(odd, odd_high, 0xdd);
  }
}
#elif defined(__AVX2__)
static inline void transpose(F (&row)[8]) {
  __m256 two[8], four[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    two[i] = _mm256_unpacklo_ps((__m256)row[i], (__m256)row[i + 1]);
    two[i + 1] = _mm256_unpackhi_ps((__m256)row[i], (__m256)row[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    four[i] = _mm256_shuffle_ps(two[i], two[i + 2], 0x44);
    four[i + 1] = _mm256_shuffle_ps(two[i], two[i + 2], 0xee);
    four[i + 2] = _mm256_shuffle_ps(two[i + 1], two[i + 3], 0x44);
    four[i + 3] = _mm256_shuffle_ps(two[i + 1], two[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    row[i] = (F)_mm256_permute2f128_ps(four[i], four[i + 4], 0x20);
    row[i + 4] = (F)_mm256_permute2f128_ps(four[i], four[i + 4], 0x31);
  }
}
#else
static inline void transpose(F (&row)[4]) {
  float lanes[4][4];
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) lanes[j][i] = row[i][j];
  for (int i = 0; i < 4; ++i) row[i] = load(lanes[i]);
}
#endif

}  // namespace vpref::cpu::VPREF_ISA
