// SPDX-License-Identifier: Apache-2.0
// A linear layer's weight as codes of 4 or 8 bits with scales: the formats, packing and unpacking. A weight is code x
// scale in f32, rounded once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/tensor.h"

namespace vpref {

enum class Packing : uint8_t { none, nf4, fp4, int8 };  // fp4: read from files only

const char* packing_name(Packing packing);                    // "none", "nf4", ...
std::optional<Packing> parse_packing(std::string_view name);  // inverse of packing_name
inline bool is_four_bit(Packing p) { return p == Packing::nf4 || p == Packing::fp4; }

// Views, as Tensor. nf4 and fp4 are bitsandbytes' 4-bit layout: the matrix in row-major order, cut into blocks that
// cross row ends. int8: one scale per row, absmax / 127.
struct PackedWeight {
  static constexpr int64_t kBlock = 64, kNestedBlock = 256;  // block sizes of the weights that the engine packs

  Packing packing = Packing::none;
  int64_t num_rows = 0, num_cols = 0;  // [N, K]
  Tensor codes;   // u8. 4 bits: [(N K + 1) / 2], the first of two codes in the high half; int8: [N, K], signed
  Tensor scales;  // int8: f32 [N]. 4 bits: f32 [blocks], or u8 [blocks] if the scales are packed too
  // Only for 4 bits:
  int64_t block = kBlock, nested_block = kNestedBlock;
  Tensor book;               // f32 [16], the value of each code
  Tensor nested_scales;      // f32, one per nested_block scales; empty: `scales` is f32
  Tensor nested_book;        // f32 [256]
  float offset = 0;          // added to every packed scale
  bool interleaved = false;  // codes and scales in another order: interleaved_weight.h

  explicit operator bool() const { return packing != Packing::none; }
  bool nested() const { return bool(nested_scales); }
  int64_t numel() const { return num_rows * num_cols; }
  int64_t num_blocks() const { return (numel() + block - 1) / block; }
  size_t bytes() const;  // of all its parts
};

// The parts of an [N, K] weight to pack, laid out in `memory` (64-byte aligned, packed_bytes of it). Null memory:
// shapes without data.
size_t packed_bytes(Packing packing, int64_t num_rows, int64_t num_cols);
PackedWeight packed_layout(Packing packing, int64_t num_rows, int64_t num_cols, void* memory);

// The NF4 code book, and the signed dynamic map of 8-bit scales (bitsandbytes, functional.create_dynamic_map), both in
// ascending order.
const float* nf4_book();
const float* dynamic_map();

// First step of packing: units [begin, end), in any order and on any thread. A unit is a block of 64 elements (nf4) or
// a row (int8). from: [N, K] f32, bf16 or f16, dense. absmax: f32, one per block (nf4); not read for int8. Returns
// false if a value is not finite.
int64_t packing_units(const PackedWeight& to);
bool pack_units(const Tensor& from, int64_t begin, int64_t end, const PackedWeight& to, float* absmax);
// Second step, once: packs the scales of nf4 (offset: their mean in f64, rounded to f32) and writes the code books.
void pack_scales(const float* absmax, PackedWeight& to);

// Scales of blocks [begin, begin + count) of a 4-bit weight, `step` apart in `out`.
void block_scales(const PackedWeight& w, int64_t begin, int64_t count, float* out, int64_t step = 1);
// Elements [col, col + count) of a row.
void unpack_row(const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out);

}  // namespace vpref
