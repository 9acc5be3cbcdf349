// SPDX-License-Identifier: Apache-2.0
// Linear layers on the bf16 dot product: two products per lane and instruction, f32 sums.
#define VPREF_ISA avx512bf16
#include "backend/cpu/kernels_product.h"

namespace vpref::cpu::avx512bf16 {
namespace {

struct Bf16 {
  using Element = bf16_t;
  using Register = __m512bh;
  static constexpr int64_t unit = 2, step = unit * kLanes, depth = 1024;
  static Register read(const bf16_t* p) { return (__m512bh)_mm512_loadu_si512(p); }
  static Register read(const f16_t* p) { return _mm512_cvtne2ps_pbh((__m512)load(p + 16), (__m512)load(p)); }
  template <class T>
  static Register read_part(const T* p, int64_t n) {
    T lanes[step] = {};
    std::memcpy(lanes, p, size_t(n) * sizeof(T));
    return read(lanes);
  }
  static Register everywhere(const bf16_t* p) {
    int32_t pair;
    std::memcpy(&pair, p, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
  }
  static F add_products(Register a, Register b, F c) { return (F)_mm512_dpbf16_ps((__m512)c, a, b); }
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
                                .skinny = skinny_products<Bf16>};

}  // namespace vpref::cpu::avx512bf16
