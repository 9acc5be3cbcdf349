// SPDX-License-Identifier: Apache-2.0
#include "core/interleaved_weight.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "core/arena.h"

namespace vpref {
namespace {

struct Both {
  PackedWeight rows, interleaved;
  Buffer rows_memory, memory;
};

Both both(Packing packing, int64_t n, int64_t k) {
  std::vector<float> values;
  for (int64_t i = 0; i < n * k; ++i) values.push_back(std::sin(float(i * i % 1009)) * float(1 + i / k % 5));
  Both b;
  b.rows_memory = Buffer(Device::cpu, packed_bytes(packing, n, k), /*zero=*/true);
  b.rows = packed_layout(packing, n, k, b.rows_memory.data());
  std::vector<float> absmax(size_t(packing_units(b.rows)));
  pack_units(Tensor(values.data(), DType::f32, {n, k}), 0, packing_units(b.rows), b.rows, absmax.data());
  pack_scales(absmax.data(), b.rows);
  const size_t bytes = interleaved_bytes(b.rows);
  b.memory = Buffer(Device::cpu, bytes + 64);
  std::memset(b.memory.data(), 0xaa, bytes + 64);
  b.interleaved = interleaved_layout(b.rows, b.memory.data());
  for (int64_t block = interleaved_blocks(b.rows); block-- > 0;) interleave(b.rows, block, block + 1, b.interleaved);
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(static_cast<uint8_t*>(b.memory.data())[bytes + i], 0xaa);
  return b;
}

constexpr struct {
  Packing packing;
  int64_t n, k;
} kCases[] = {{Packing::nf4, 64, 64},  {Packing::nf4, 130, 192}, {Packing::nf4, 3, 640},   {Packing::int8, 64, 64},
              {Packing::int8, 70, 33}, {Packing::int8, 1, 1},    {Packing::int8, 129, 100}};

TEST(InterleavedWeight, EveryValueIsThatOfTheRows) {
  for (const auto& [packing, n, k] : kCases) {
    const Both b = both(packing, n, k);
    ASSERT_TRUE(b.interleaved.interleaved);
    for (int64_t row = 0; row < n; ++row)
      for (const int64_t col : {int64_t(0), k / 3}) {
        std::vector<float> expected(size_t(k - col)), got(expected.size() + 1, 5.0f);
        unpack_row(b.rows, row, col, k - col, expected.data());
        unpack_row(b.interleaved, row, col, k - col, got.data());
        EXPECT_EQ(got.back(), 5.0f);
        got.pop_back();
        ASSERT_EQ(got, expected) << packing_name(packing) << " " << n << "x" << k << " row " << row;
      }
  }
}

// Kernels multiply whole blocks.
TEST(InterleavedWeight, CodesAndScalesBeyondTheMatrixAreZero) {
  for (const auto& [packing, n, k] : kCases) {
    const Both b = both(packing, n, k);
    const Tensor &codes = b.interleaved.codes, &scales = b.interleaved.scales;
    const int64_t row_bytes = packing == Packing::nf4 ? k / 2 : k;
    for (int64_t i = 0; i < codes.numel(); ++i) {
      const int64_t byte = i % kLaneBytes, row = i / kLaneBytes % kInterleavedRows;
      const int64_t lane = i / (kLaneBytes * kInterleavedRows) % codes.dim(1);
      const int64_t block = i / (kLaneBytes * kInterleavedRows) / codes.dim(1);
      if (block * kInterleavedRows + row < n && lane * kLaneBytes + byte < row_bytes) continue;
      ASSERT_EQ(codes.as<uint8_t>()[i], 0) << packing_name(packing) << " " << n << "x" << k << " at " << i;
    }
    for (int64_t i = 0; i < scales.numel(); ++i)
      if (i / kInterleavedRows / scales.dim(1) * kInterleavedRows + i % kInterleavedRows >= n)
        ASSERT_EQ(scales.as<float>()[i], 0.0f);
  }
}

TEST(InterleavedWeight, BytesOfARowAreCopiedFromAnyByteOn) {
  const Both b = both(Packing::int8, 70, 33);
  for (const int64_t row : {0, 63, 64, 69})
    for (int64_t begin = 0; begin < 33; ++begin)
      for (int64_t count = 0; begin + count <= 33; ++count) {
        std::vector<uint8_t> got(size_t(count) + 1, 0xaa);
        copy_codes(b.interleaved, row, begin, count, got.data());
        ASSERT_EQ(std::memcmp(got.data(), b.rows.codes.as<uint8_t>() + row * 33 + begin, size_t(count)), 0);
        ASSERT_EQ(got.back(), 0xaa);
      }
}

TEST(InterleavedWeight, OnlyWholeBlocksOf64Fit) {
  PackedWeight w = packed_layout(Packing::nf4, 8, 100, nullptr);
  EXPECT_FALSE(can_interleave(w));
  w = packed_layout(Packing::nf4, 8, 128, nullptr);
  EXPECT_TRUE(can_interleave(w));
  w.block = 32;
  EXPECT_FALSE(can_interleave(w));
  EXPECT_TRUE(can_interleave(packed_layout(Packing::int8, 8, 100, nullptr)));
  // Scales are f32, one per 64 codes.
  w = packed_layout(Packing::nf4, 4096, 4096, nullptr);
  EXPECT_NEAR(double(interleaved_bytes(w)) * 8 / double(w.numel()), 4.5, 0.001);
}

}  // namespace
}  // namespace vpref
