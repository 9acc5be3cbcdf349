// SPDX-License-Identifier: Apache-2.0
// Linear layers on the bf16 dot product: two products per lane and instruction, f32 sums.
#define VPREF_ISA avx512bf16
#include "backend/cpu/kernels_packed.h"
#include "backend/cpu/kernels_product.h"
#include "backend/cpu/kernels_skinny.h"

namespace vpref::cpu::avx512bf16 {
namespace {

struct Bf16 {
  using Element = bf16_t;
  using Register = __m512bh;
  static constexpr int64_t unit = 2, step = unit * kLanes, depth = 1024;
  static Register read(const bf16_t* p) { return (__m512bh)_mm512_loadu_si512(p); }
  static Register read(const f16_t* p) { return _mm512_cvtne2ps_pbh((__m512)load(p + 16), (__m512)load(p)); }
  static Register read_part(const bf16_t* p, int64_t n) { return (__m512bh)load_bytes(p, n * int64_t(sizeof(bf16_t))); }
  static Register read_part(const f16_t* p, int64_t n) {
    f16_t lanes[step] = {};
    std::memcpy(lanes, p, size_t(n) * sizeof(f16_t));
    return read(lanes);
  }
  static Register everywhere(const bf16_t* p) {
    int32_t pair;
    std::memcpy(&pair, p, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
  }
  static F add_products(Register a, Register b, F c) { return (F)_mm512_dpbf16_ps((__m512)c, a, b); }
};

// Pairs of codes, the first in the low half of a lane.
constexpr __mmask32 kHighHalves = 0xaaaaaaaa;

struct EightBitPairs {
  static constexpr int64_t per_lane = 4, scaled_lanes = 0;
  EightBit codes{nullptr};
  explicit EightBitPairs(const float*) {}
  // The low half of a code's float is 0.
  __m512bh value(const uint8_t* lanes, int e) const {
    const __m512i first = _mm512_srli_epi32((__m512i)codes.value(lanes, 2 * e), 16);
    return (__m512bh)_mm512_mask_blend_epi16(kHighHalves, first, (__m512i)codes.value(lanes, 2 * e + 1));
  }
};

// The values of the codes are rounded to bf16.
struct FourBitPairs {
  static constexpr int64_t per_lane = 8, scaled_lanes = kScaledCodes / per_lane;
  __m512i book;  // twice: an index has 5 bits, of which the fifth is any
  explicit FourBitPairs(const float* values)
      : book(_mm512_broadcast_i64x4((__m256i)_mm512_cvtneps_pbh((__m512)load(values)))) {}
  __m512bh value(const uint8_t* lanes, int e) const {
    __m512i at;
    std::memcpy(&at, lanes + e, sizeof at);
    const __m512i index = _mm512_mask_blend_epi16(kHighHalves, _mm512_srli_epi32(at, 4), _mm512_slli_epi32(at, 16));
    return (__m512bh)_mm512_permutexvar_epi16(index, book);
  }
};

}  // namespace

extern const ProductKernels product;
const ProductKernels product = {.rows = kProductRows,
                                .cols = kProductCols,
                                .skinny_rows = kSkinnyRows,
                                .depth = Bf16::depth,
                                .step = Bf16::step,
                                .size = sizeof(bf16_t),
                                .pack = pack_panel<Bf16>,
                                .tile = product_tile<Bf16>,
                                .skinny = skinny_products<Bf16>,
                                .skinny_codes = skinny_codes<Bf16, FourBitPairs, EightBitPairs>,
                                .pack_codes = pack_codes<Bf16, FourBitPairs, EightBitPairs>};

}  // namespace vpref::cpu::avx512bf16
