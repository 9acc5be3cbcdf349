// SPDX-License-Identifier: Apache-2.0
// Matrix-vector products on the bf16 dot product: two products a lane and instruction, f32 sums.
#include <immintrin.h>

#include <cstring>

#include "core/dtype.h"

namespace vpref::cpu::avx512bf16 {
namespace {

inline __m512bh load(const bf16_t* p) { return (__m512bh)_mm512_loadu_si512(p); }
inline __m512bh load_part(const bf16_t* p, int64_t n) {
  return (__m512bh)_mm512_maskz_loadu_epi16(__mmask32((uint64_t(1) << n) - 1), p);
}

template <int R, int T>
inline void block(const bf16_t* x, int64_t ldx, const bf16_t* w, int64_t ldw, int64_t k, float* y, int64_t ldy) {
  __m512 acc[R][T];
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) acc[r][t] = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 32 <= k; i += 32) {
    __m512bh in[T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) in[t] = load(x + t * ldx + i);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const __m512bh weight = load(w + r * ldw + i);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) acc[r][t] = _mm512_dpbf16_ps(acc[r][t], weight, in[t]);
    }
  }
  if (i < k)
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t)
        acc[r][t] = _mm512_dpbf16_ps(acc[r][t], load_part(w + r * ldw + i, k - i), load_part(x + t * ldx + i, k - i));
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) y[t * ldy + r] = _mm512_reduce_add_ps(acc[r][t]);
}

template <int T>
void rows_of(const bf16_t* x, int64_t ldx, const bf16_t* w, int64_t ldw, int64_t k, int64_t n0, int64_t n1, float* y,
             int64_t ldy) {
  constexpr int R = T <= 6 ? 4 : 2;
  int64_t n = n0;
  for (; n + R <= n1; n += R) block<R, T>(x, ldx, w + n * ldw, ldw, k, y + n, ldy);
  for (; n < n1; ++n) block<1, T>(x, ldx, w + n * ldw, ldw, k, y + n, ldy);
}

}  // namespace

void gemv_bf16(const bf16_t* x, int64_t ldx, int rows, const bf16_t* w, int64_t ldw, int64_t k, int64_t n0, int64_t n1,
               float* y, int64_t ldy) {
  switch (rows) {
    case 1: return rows_of<1>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 2: return rows_of<2>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 3: return rows_of<3>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 4: return rows_of<4>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 5: return rows_of<5>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 6: return rows_of<6>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 7: return rows_of<7>(x, ldx, w, ldw, k, n0, n1, y, ldy);
    case 8: return rows_of<8>(x, ldx, w, ldw, k, n0, n1, y, ldy);
  }
}

}  // namespace vpref::cpu::avx512bf16
