// SPDX-License-Identifier: Apache-2.0
// The kernels of one instruction set; included once by each kernels_<isa>.cc, which defines VPREF_ISA and is compiled
// with its flags.
#pragma once
#include <cmath>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd.h"

#include "backend/cpu/kernels_matrix.h"
#include "backend/cpu/kernels_packed.h"
#include "backend/cpu/kernels_product.h"
#include "backend/cpu/kernels_rows.h"
#include "backend/cpu/kernels_skinny.h"
#include "backend/cpu/kernels_unpack.h"

namespace vpref::cpu::VPREF_ISA {

#define VPREF_STRING_(x) #x
#define VPREF_STRING(x) VPREF_STRING_(x)
extern const Kernels table;
const Kernels table = {
    .name = VPREF_STRING(VPREF_ISA),
    .lanes = kLanes,
    .tile_rows = kTileRows,
    .tile_cols = 2 * kLanes,
    .to_f32 = to_f32_row,
    .from_f32 = from_f32_row,
    .sum_squares = sum_squares,
    .sum_squares_f64 = sum_squares_f64,
    .sum = sum,
    .dot = dot,
    .dot3 = dot3,
    .centered_sum_squares = centered_sum_squares,
    .max = max_row,
    .add_scaled = add_scaled,
    .scale = scale,
    .scale_weight = scale_weight,
    .normalize = normalize,
    .norm_backward = norm_backward,
    .norm_backward_weight = norm_backward_weight,
    .rope = rope,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .sum_exp = sum_exp,
    .exp_scaled = exp_scaled,
    .adamw = adamw,
    .product = {.rows = kProductRows,
                .cols = kProductCols,
                .skinny_rows = kSkinnyRows,
                .depth = F32::depth,
                .step = F32::step,
                .size = sizeof(float),
                .pack = pack_panel<F32>,
                .tile = product_tile<F32>,
                .skinny = skinny_products<F32>,
                .skinny_codes = skinny_codes<F32, FourBit, EightBit>,
                .pack_codes = pack_codes<F32, FourBit, EightBit>},
    .unpack_codes = unpack_codes,
    .unpack_rows = unpack_rows,
    .product_bf16 = nullptr,
    .gemm_tile = gemm_tile,
    .weighted_sums = weighted_sums,
    .softmax_step = softmax_step,
    .softmax_backward = softmax_backward,
};

}  // namespace vpref::cpu::VPREF_ISA
