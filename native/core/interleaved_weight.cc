// SPDX-License-Identifier: Apache-2.0
#include "core/interleaved_weight.h"

#include <algorithm>
#include <cstring>

#include "core/arena.h"

namespace vpref {
namespace {

int64_t codes_per_byte(const PackedWeight& w) { return is_four_bit(w.packing) ? 2 : 1; }
int64_t row_bytes(const PackedWeight& w) { return w.num_cols / codes_per_byte(w); }

}  // namespace

bool can_interleave(const PackedWeight& w) {
  return !is_four_bit(w.packing) || (w.block == PackedWeight::kBlock && w.num_cols % PackedWeight::kBlock == 0);
}

int64_t interleaved_blocks(const PackedWeight& w) { return (w.num_rows + kInterleavedRows - 1) / kInterleavedRows; }

PackedWeight interleaved_layout(const PackedWeight& w, void* memory) {
  PackedWeight to = w;
  to.interleaved = true;
  to.nested_scales = to.nested_book = Tensor();
  size_t used = 0;
  const auto part = [&](DType dtype, std::initializer_list<int64_t> shape) {
    Tensor t(memory ? static_cast<char*>(memory) + used : nullptr, dtype, shape);
    used += aligned(t.bytes());
    return t;
  };
  constexpr int64_t kStep = 8 * kLaneBytes;
  const int64_t blocks = interleaved_blocks(w), lanes = (row_bytes(w) + kStep - 1) / kStep * kStep / kLaneBytes;
  const bool four_bit = is_four_bit(w.packing);
  to.codes = part(DType::u8, {blocks, lanes, kInterleavedRows, kLaneBytes});
  to.scales = part(DType::f32, {blocks, four_bit ? w.num_cols / w.block : 1, kInterleavedRows});
  to.book = four_bit ? part(DType::f32, {16}) : Tensor();
  return to;
}

size_t interleaved_bytes(const PackedWeight& w) {
  const PackedWeight to = interleaved_layout(w, nullptr);
  size_t bytes = 0;
  for (const Tensor* t : {&to.codes, &to.scales, &to.book}) bytes += aligned(t->bytes());
  return bytes;
}

void interleave(const PackedWeight& from, int64_t begin, int64_t end, const PackedWeight& to) {
  if (begin == 0 && to.book) std::copy_n(from.book.as<float>(), to.book.numel(), to.book.as<float>());
  const int64_t bytes = row_bytes(from), lanes = to.codes.dim(1), per_row = to.scales.dim(1);
  const int64_t full_lanes = bytes / kLaneBytes;
  for (int64_t block = begin; block < end; ++block) {
    uint8_t* codes = to.codes.as<uint8_t>() + block * lanes * kInterleavedRows * kLaneBytes;
    float* scales = to.scales.as<float>() + block * per_row * kInterleavedRows;
    const int64_t first = block * kInterleavedRows, count = std::min(kInterleavedRows, from.num_rows - first);
    if (count < kInterleavedRows || full_lanes < lanes) {
      std::memset(codes, 0, size_t(lanes * kInterleavedRows * kLaneBytes));
      std::fill_n(scales, per_row * kInterleavedRows, 0.0f);
    }
    for (int64_t r = 0; r < count; ++r) {
      const uint8_t* row = from.codes.as<uint8_t>() + (first + r) * bytes;
      uint8_t* lane = codes + r * kLaneBytes;
      for (int64_t l = 0; l < full_lanes; ++l, lane += kInterleavedRows * kLaneBytes)
        std::memcpy(lane, row + l * kLaneBytes, kLaneBytes);
      std::copy_n(row + full_lanes * kLaneBytes, bytes - full_lanes * kLaneBytes, lane);
      if (is_four_bit(from.packing))
        block_scales(from, (first + r) * per_row, per_row, scales + r, kInterleavedRows);
      else
        scales[r] = from.scales.as<float>()[first + r];
    }
  }
}

void unpack_interleaved_row(const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out) {
  const int64_t per_byte = codes_per_byte(w);
  for (int64_t i = col; i < col + count; ++i) {
    uint8_t byte;
    copy_codes(w, row, i / per_byte, 1, &byte);
    const float code =
        is_four_bit(w.packing) ? w.book.as<float>()[i % 2 == 0 ? byte >> 4 : byte & 15] : float(int8_t(byte));
    *out++ = code * interleaved_scale(w, row, i);
  }
}

void copy_codes(const PackedWeight& w, int64_t row, int64_t begin, int64_t count, uint8_t* out) {
  const uint8_t* lanes =
      w.codes.as<uint8_t>() +
      (row / kInterleavedRows * w.codes.dim(1) * kInterleavedRows + row % kInterleavedRows) * kLaneBytes;
  constexpr int64_t kStep = kInterleavedRows * kLaneBytes;
  int64_t i = begin;
  const int64_t end = begin + count;
  for (; i < end && i % kLaneBytes != 0; ++i) *out++ = lanes[i / kLaneBytes * kStep + i % kLaneBytes];
  for (; i + kLaneBytes <= end; i += kLaneBytes, out += kLaneBytes)
    std::memcpy(out, lanes + i / kLaneBytes * kStep, kLaneBytes);
  for (; i < end; ++i) *out++ = lanes[i / kLaneBytes * kStep + i % kLaneBytes];
}

float interleaved_scale(const PackedWeight& w, int64_t row, int64_t col) {
  const int64_t per_row = w.scales.dim(1), at = per_row > 1 ? col / PackedWeight::kBlock : 0;
  return w.scales.as<float>()[(row / kInterleavedRows * per_row + at) * kInterleavedRows + row % kInterleavedRows];
}

}  // namespace vpref
