// SPDX-License-Identifier: Apache-2.0
#include "core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vpref {
namespace {

// The value of an f16 or bf16 bit pattern, from its fields.
double decode(uint32_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = bits >> (exponent_bits + mantissa_bits) ? -1 : 1;
  const int exponent = int(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double fraction = double(bits & ((1u << mantissa_bits) - 1)) / double(1u << mantissa_bits);
  if (exponent == (1 << exponent_bits) - 1) return fraction ? NAN : sign * INFINITY;
  return sign * (exponent ? std::ldexp(1 + fraction, exponent - bias) : std::ldexp(fraction, 1 - bias));
}

template <class T, class Narrow>
void check_all(int exponent_bits, int mantissa_bits, Narrow narrow) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = to_f32(T{uint16_t(bits)});
    const double expected = decode(bits, exponent_bits, mantissa_bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value) && std::isnan(to_f32(narrow(value)))) << bits;
      continue;
    }
    ASSERT_EQ(double(value), expected) << bits;
    ASSERT_EQ(narrow(value).bits, bits) << "round trip";
    // Between this value and the next larger magnitude: below the midpoint rounds down, above it up, the midpoint to
    // even.
    const double next = decode(bits + 1, exponent_bits, mantissa_bits);
    if (!std::isfinite(expected) || !std::isfinite(next) || (bits & 0x7fff) == 0x7fff) continue;
    const float middle = float((expected + next) / 2);
    ASSERT_EQ(narrow(middle).bits, bits + (bits & 1)) << "middle above " << bits;
    ASSERT_EQ(narrow(std::nextafterf(middle, value)).bits, bits) << "below the middle above " << bits;
    ASSERT_EQ(narrow(std::nextafterf(middle, float(next))).bits, bits + 1) << "above the middle above " << bits;
  }
}

TEST(DType, EveryF16ConvertsExactly) {
  check_all<f16_t>(5, 10, [](float f) { return to_f16(f); });
}
TEST(DType, EveryBf16ConvertsExactly) {
  check_all<bf16_t>(8, 7, [](float f) { return to_bf16(f); });
}

TEST(DType, F16RoundsAtTheEdgesOfItsRange) {
  EXPECT_EQ(to_f16(65519.99f).bits, 0x7bff);
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_f16(-1e30f).bits, 0xfc00);
  EXPECT_EQ(to_f16(0x1p-25f).bits, 0);
  EXPECT_EQ(to_f16(0x1.000002p-25f).bits, 1);
}

}  // namespace
}  // namespace vpref
