// SPDX-License-Identifier: Apache-2.0
// Packed weights in the order in which the CPU's kernels read them: 64 rows side by side, so that memory is read in
// order and no code is moved on the way.
//   codes:  [N/64][lanes][64][4], where a lane holds 4 consecutive bytes of a row
//   scales: f32 [N/64][K/64 (int8: 1)][64], not packed
// N is rounded up to 64, the lanes of int8 to 8; codes and scales beyond the matrix are 0.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/packed_weight.h"

namespace vpref {

constexpr int64_t kInterleavedRows = 64, kLaneBytes = 4;

// int8, or 4 bits with blocks of 64 and rows of whole blocks.
bool can_interleave(const PackedWeight& w);

// The parts of `w` in this order, laid out in `memory` (64-byte aligned, interleaved_bytes of it).
size_t interleaved_bytes(const PackedWeight& w);
PackedWeight interleaved_layout(const PackedWeight& w, void* memory);

// Copies the code book and blocks [begin, end) of 64 rows, in any order and on any thread.
int64_t interleaved_blocks(const PackedWeight& w);
void interleave(const PackedWeight& from, int64_t begin, int64_t end, const PackedWeight& to);

// unpack_row of an interleaved weight.
void unpack_interleaved_row(const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out);
// Bytes [begin, begin + count) of the codes of a row of an interleaved weight.
void copy_codes(const PackedWeight& w, int64_t row, int64_t begin, int64_t count, uint8_t* out);
// The scale of element (row, col) of an interleaved weight.
float interleaved_scale(const PackedWeight& w, int64_t row, int64_t col);

}  // namespace vpref
