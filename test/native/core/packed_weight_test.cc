// SPDX-License-Identifier: Apache-2.0
#include "core/packed_weight.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/error.h"
#include "model/safetensors.h"

namespace vpref {
namespace {

// A packed weight with its own memory.
struct Packed {
  PackedWeight weight;
  Buffer memory;
  bool finite = true;
};

// Packs in `parts` steps, the last one first.
Packed pack(Packing packing, const Tensor& from, int64_t parts = 1) {
  Packed p;
  p.memory = Buffer(Device::cpu, packed_bytes(packing, from.dim(0), from.dim(1)), /*zero=*/true);
  p.weight = packed_layout(packing, from.dim(0), from.dim(1), p.memory.data());
  const int64_t units = packing_units(p.weight);
  std::vector<float> absmax(static_cast<size_t>(units));
  for (int64_t i = parts; i-- > 0;)
    p.finite &= pack_units(from, units * i / parts, units * (i + 1) / parts, p.weight, absmax.data());
  pack_scales(absmax.data(), p.weight);
  return p;
}

std::vector<float> unpack(const PackedWeight& w) {
  std::vector<float> out(size_t(w.numel()));
  for (int64_t n = 0; n < w.num_rows; ++n) unpack_row(w, n, 0, w.num_cols, out.data() + n * w.num_cols);
  return out;
}

void expect_bytes(const Tensor& got, const Tensor& expected, const std::string& what) {
  ASSERT_EQ(got.bytes(), expected.bytes()) << what;
  for (size_t i = 0; i < got.bytes(); ++i)
    ASSERT_EQ(got.as<uint8_t>()[i], expected.as<uint8_t>()[i]) << what << ", byte " << i;
}

class Golden : public ::testing::TestWithParam<const char*> {
 protected:
  Safetensors file{std::string(VPREF_FIXTURES) + "/golden/packed/weights.safetensors"};
  Tensor part(const std::string& name) const { return file.view(std::string(GetParam()) + name); }
};

// Every byte equals the result of scripts/goldens/packed_weights.py for the same matrix.
TEST_P(Golden, BothFormsEqualTheReferenceBitForBit) {
  const Tensor from = part("");
  for (const Packing packing : {Packing::nf4, Packing::int8})
    for (const int64_t parts : {1, 3}) {
      const std::string form = std::string(".") + packing_name(packing);
      const Packed p = pack(packing, from, parts);
      EXPECT_TRUE(p.finite);
      expect_bytes(p.weight.codes, part(form + ".codes"), form + " codes");
      expect_bytes(p.weight.scales, part(form + ".scales"), form + " scales");
      if (packing == Packing::nf4) {
        expect_bytes(p.weight.nested_scales, part(form + ".nested"), "nested scales");
        EXPECT_EQ(p.weight.offset, *part(form + ".offset").as<float>());
      }
      std::vector<float> values = unpack(p.weight);
      expect_bytes(Tensor(values.data(), DType::f32, {from.dim(0), from.dim(1)}), part(form + ".unpacked"),
                   form + " values");
    }
}

INSTANTIATE_TEST_SUITE_P(PackedWeight, Golden, ::testing::Values("f32", "heavy", "odd", "f16", "bf16", "ties", "tiny"));

TEST(PackedWeight, BooksFollowTheirDefinitions) {
  const Safetensors file(std::string(VPREF_FIXTURES) + "/golden/packed/weights.safetensors");
  EXPECT_EQ(std::memcmp(nf4_book(), file.view("nf4_book").data, 16 * sizeof(float)), 0);
  EXPECT_EQ(std::memcmp(dynamic_map(), file.view("dynamic_map").data, 256 * sizeof(float)), 0);
}

TEST(PackedWeight, AnyPartOfARowEqualsThatOfTheWholeRow) {
  std::vector<float> values;
  for (int i = 0; i < 11 * 101; ++i) values.push_back(std::sin(float(i * i)));
  const Packed p = pack(Packing::nf4, Tensor(values.data(), DType::f32, {11, 101}));
  const std::vector<float> all = unpack(p.weight);
  for (int64_t row = 0; row < 11; ++row)
    for (int64_t col = 0; col < 101; col += 7)
      for (int64_t count = 1; col + count <= 101; count += 9) {
        std::vector<float> some(size_t(count) + 1, 5.0f);
        unpack_row(p.weight, row, col, count, some.data());
        for (int64_t i = 0; i < count; ++i) ASSERT_EQ(some[size_t(i)], all[size_t(row * 101 + col + i)]);
        ASSERT_EQ(some.back(), 5.0f);
      }
}

TEST(PackedWeight, ValuesThatAreNotFiniteAreReported) {
  for (const float bad : {INFINITY, -INFINITY, std::numeric_limits<float>::quiet_NaN()})
    for (const Packing packing : {Packing::nf4, Packing::int8}) {
      std::vector<float> values(3 * 64, 0.5f);
      values[100] = bad;
      EXPECT_FALSE(pack(packing, Tensor(values.data(), DType::f32, {3, 64})).finite);
    }
}

TEST(PackedWeight, TakesAboutFourOrEightBitsPerWeight) {
  const int64_t n = 4096, k = 4096;
  EXPECT_NEAR(double(packed_bytes(Packing::nf4, n, k)) * 8 / double(n * k), 4.127, 0.001);
  EXPECT_NEAR(double(packed_bytes(Packing::int8, n, k)) * 8 / double(n * k), 8.008, 0.001);
  EXPECT_THROW(packed_bytes(Packing::fp4, n, k), Error);
  EXPECT_EQ(parse_packing("nf4"), Packing::nf4);
  EXPECT_EQ(parse_packing("int4"), std::nullopt);
}

}  // namespace
}  // namespace vpref
