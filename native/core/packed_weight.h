// SPDX-License-Identifier: Apache-2.0
// A linear layer's weight as codes of 4 or 8 bits and the scales that make numbers of them; how they are made from
// numbers and read back. A weight is code x scale in f32, rounded once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/tensor.h"

namespace vpref {

enum class Packing : uint8_t { none, nf4, fp4, int8 };  // fp4 is read from files only

const char* packing_name(Packing packing);                    // "none", "nf4", ...
std::optional<Packing> parse_packing(std::string_view name);  // what packing_name gives
inline bool is_four_bit(Packing p) { return p == Packing::nf4 || p == Packing::fp4; }

// Views, as Tensor. nf4 and fp4 are bitsandbytes' 4-bit layout: the matrix row after row, in blocks that go on across
// row ends. int8: scale = absmax / 127 of a row.
struct PackedWeight {
  static constexpr int64_t kBlock = 64, kNestedBlock = 256;  // of what we pack ourselves

  Packing packing = Packing::none;
  int64_t num_rows = 0, num_cols = 0;  // [N, K]
  Tensor codes;   // u8. 4 bits: [(N K + 1) / 2], the first of two in the high half; int8: [N, K], signed
  Tensor scales;  // int8: f32 [N]. 4 bits: f32 [blocks], or u8 [blocks] where they are packed themselves
  // 4 bits alone:
  int64_t block = kBlock, nested_block = kNestedBlock;
  Tensor book;           // f32 [16], what a code stands for
  Tensor nested_scales;  // f32, one for nested_block scales; empty: scales are f32
  Tensor nested_book;    // f32 [256]
  float offset = 0;      // added to every packed scale

  explicit operator bool() const { return packing != Packing::none; }
  bool nested() const { return bool(nested_scales); }
  int64_t numel() const { return num_rows * num_cols; }
  int64_t num_blocks() const { return (numel() + block - 1) / block; }
  size_t bytes() const;  // of all its parts
};

// The parts of an [N, K] weight that we pack, laid out in `memory` (64-byte aligned, packed_bytes of it). Null memory:
// no data, but all shapes.
size_t packed_bytes(Packing packing, int64_t num_rows, int64_t num_cols);
PackedWeight packed_layout(Packing packing, int64_t num_rows, int64_t num_cols, void* memory);

// The NF4 code book, and the signed dynamic map of 8-bit scales (bitsandbytes, functional.create_dynamic_map), both
// ascending.
const float* nf4_book();
const float* dynamic_map();

// Packing has two steps. Units: blocks of 64 elements for nf4, rows for int8; [begin, end) of them, in any order and on
// any thread. from: [N, K] f32, bf16 or f16, dense. absmax: f32, one for each block (nf4), else not read.
// False where a value is not finite.
int64_t packing_units(const PackedWeight& to);
bool pack_units(const Tensor& from, int64_t begin, int64_t end, const PackedWeight& to, float* absmax);
// The second, once: packs the scales of nf4 (offset: their mean in f64, rounded to f32) and writes its books.
void pack_scales(const float* absmax, PackedWeight& to);

// Scales of blocks [begin, begin + count) of a 4-bit weight.
void block_scales(const PackedWeight& w, int64_t begin, int64_t count, float* out);
// Elements [col, col + count) of a row.
void unpack_row(const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out);

}  // namespace vpref
