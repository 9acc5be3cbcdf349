// SPDX-License-Identifier: Apache-2.0
// Covers native/backend/cpu/packed_products.cc native/backend/cpu/kernels_packed.h native/backend/cuda/packed_linear.cu
#include "ops/packed_linear.h"

#include <cstring>

#include "ops/gemm.h"
#include "ops/packed_operand.h"
#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using PackedLinearTest = OpTest;
VPREF_OP_TEST(PackedLinearTest);

// Whether the product with x in this dtype rounds the values of 4-bit codes to bf16.
bool rounds(const PackedWeight& w, DType x) {
  return w.interleaved && w.book && x == DType::bf16 && cpu::kernels().product_bf16;
}

// The unpacked values, as the product with x in this dtype multiplies them.
Values multiplied(const Packed& p, DType x) {
  if (!rounds(p.weight, x)) return p.values;
  PackedWeight w = p.weight;
  float book[16];
  for (int i = 0; i < 16; ++i) book[i] = to_f32(to_bf16(w.book.as<float>()[i]));
  w.book = Tensor(book, DType::f32, {16});
  std::vector<float> values(size_t(w.numel()));
  for (int64_t n = 0; n < w.num_rows; ++n) unpack_row(w, n, 0, w.num_cols, values.data() + n * w.num_cols);
  return {values.begin(), values.end()};
}

constexpr Size kSizes[] = {{1, 1},    {5, 3},    {37, 129}, {64, 64},  {16, 1096},
                           {131, 40}, {9, 1300}, {300, 16}, {37, 192}, {70, 1088}};

TEST_P(PackedLinearTest, ProductEqualsThatOfTheUnpackedWeights) {
  for (const Packing packing : {Packing::nf4, Packing::int8})
    for (const Size s : kSizes) {
      Packed w = packed(ctx, packing, s, normal(s.n * s.k), /*in_rows=*/s.n % 3 == 0);
      const Values values = multiplied(w, dtype());
      for (const int64_t t : {1, 5, 16, 40})
        for (const bool plain : {true, false})
          for (DType out : {DType::f32, dtype()}) {
            if (ctx.device != Device::cpu && t > kPackedSkinnyRows) continue;
            Operand x = operand({t, s.k}, normal(t * s.k), 4), bias = operand(DType::bf16, {s.n}, normal(s.n));
            Operand y = operand(out, {t, s.n}, plain ? Values(size_t(t * s.n), NAN) : normal(t * s.n), 2);
            Values expected =
                reference::gemm(x.values(), false, values, true, y.values(), t, s.n, s.k, 1, plain ? 0 : 1);
            if (!plain)
              for (size_t i = 0; i < expected.size(); ++i) expected[i] += bias.values()[i % size_t(s.n)];
            packed_linear(ctx, x.view(), w.weight, plain ? nullptr : &bias.view(), y.view(), plain ? 0.0f : 1.0f);
            SCOPED_TRACE(::testing::Message() << packing_name(packing) << " " << t << "x" << s.k << "x" << s.n);
            expect_close("y", y, expected, double(s.k), 8.0);
          }
    }
}

// Bit for bit: products of the codes of a scale (64 of 4 bits; of int8 512, or 1,024 in bf16) are summed along k, and
// their sum is scaled and added.
TEST_P(PackedLinearTest, SumsTheCodesOfAScaleInOrder) {
  if (ctx.device != Device::cpu) GTEST_SKIP() << "CPU only";
  // The bf16 dot product has an order of its own inside a pair: small whole numbers make a scale's sum exact.
  const bool pairs = dtype() == DType::bf16 && cpu::kernels().product_bf16;
#if defined(__ARM_NEON)
  const bool fuses = true;
#else
  const bool fuses = std::string(GetParam().kernels) != "plain";
#endif
  const auto multiply_add = [fuses](float a, float b, float c) { return fuses ? std::fmaf(a, b, c) : a * b + c; };
  for (const Packing packing : {Packing::nf4, Packing::int8})
    for (const Size s : {Size{37, 192}, {70, 1088}, {5, 4672}, {9, 1300}}) {
      if (packing == Packing::nf4 && s.k % PackedWeight::kBlock != 0) continue;
      Packed w = packed(ctx, packing, s, normal(s.n * s.k));
      ASSERT_TRUE(w.weight.interleaved);
      const auto number = [&](int64_t row, int64_t i) {
        uint8_t byte;
        copy_codes(w.weight, row, packing == Packing::nf4 ? i / 2 : i, 1, &byte);
        if (packing == Packing::int8) return float(int8_t(byte));
        const float value = nf4_book()[i % 2 ? byte & 15 : byte >> 4];
        return pairs ? to_f32(to_bf16(value)) : value;
      };
      const int64_t group = packing == Packing::nf4 ? PackedWeight::kBlock : pairs ? 1024 : 512;
      for (const int64_t t : {1, 40}) {
        Values inputs = normal(t * s.k);
        if (pairs)
          for (double& value : inputs) value = std::round(2 * value);
        Operand x = operand({t, s.k}, inputs), y = operand(DType::f32, {t, s.n}, Values(size_t(t * s.n), NAN));
        packed_linear(ctx, x.view(), w.weight, nullptr, y.view());
        Values expected;
        for (int64_t row = 0; row < t; ++row)
          for (int64_t n = 0; n < s.n; ++n) {
            float sum = 0;
            for (int64_t first = 0; first < s.k; first += group) {
              float part = 0;
              for (int64_t i = first; i < std::min(s.k, first + group); ++i)
                part = multiply_add(float(x.values()[size_t(row * s.k + i)]), number(n, i), part);
              sum = multiply_add(part, interleaved_scale(w.weight, n, first), sum);
            }
            expected.push_back(double(sum));
          }
        EXPECT_EQ(y.read(), expected) << packing_name(packing) << " " << t << "x" << s.k << "x" << s.n;
      }
    }
}

// Rows [first, first + rows) of x have the bytes that they have beside all the others: a decoded row does not depend on
// its batch, nor on the kernel that its size selects.
TEST_P(PackedLinearTest, ARowHasTheSameBytesAloneAndBesideOthers) {
  const int64_t most = ctx.device == Device::cpu ? 70 : kPackedSkinnyRows;
  for (const Packing packing : {Packing::nf4, Packing::int8})
    for (const Size s : {Size{37, 129}, {20, 1096}, {9, 64}, {150, 1088}, {70, 4672}}) {
      Packed w = packed(ctx, packing, s, normal(s.n * s.k));
      Operand x = operand({most, s.k}, normal(most * s.k), 8);
      Operand bias = operand(DType::bf16, {s.n}, normal(s.n));
      const Values before = normal(most * s.n);
      Operand all = operand(DType::f32, {most, s.n}, before);
      constexpr size_t kWorkspace = size_t(4) << 20;  // NaN: what no one wrote would be seen
      if (ctx.device == Device::cpu) std::memset(ctx.workspace.get(kWorkspace), 0xff, kWorkspace);
      packed_linear(ctx, x.view(), w.weight, &bias.view(), all.view(), 0.5f);
      const Values together = all.read();
      for (const double y : together) ASSERT_TRUE(std::isfinite(y)) << packing_name(packing) << " " << s.k;
      for (const auto& [first, rows] : {std::pair<int64_t, int64_t>{0, 1},
                                        {15, 1},
                                        {3, 2},
                                        {6, 4},
                                        {9, 7},
                                        {0, 16},
                                        {20, 13},
                                        {30, 24},
                                        {12, 25},
                                        {3, 47}}) {
        if (first + rows > most) continue;
        const auto part = [&](const Values& of) {
          return Values(&of[size_t(first * s.n)], &of[size_t(first * s.n)] + rows * s.n);
        };
        Operand some = operand(DType::f32, {rows, s.n}, part(before));
        packed_linear(ctx, x.view().rows(first, rows), w.weight, &bias.view(), some.view(), 0.5f);
        EXPECT_EQ(some.read(), part(together)) << packing_name(packing) << " " << s.k << " " << first << " " << rows;
      }
    }
}

TEST_P(PackedLinearTest, ATileEqualsItsPartOfTheMatrix) {
  for (const Packing packing : {Packing::nf4, Packing::int8})
    for (const auto& [s, in_rows] : {std::pair{Size{5, 3}, false},
                                     {Size{37, 129}, false},
                                     {Size{3, 2500}, false},
                                     {Size{64, 192}, true},
                                     {Size{128, 192}, false},
                                     {Size{70, 1152}, false}}) {
      Packed w = packed(ctx, packing, s, normal(s.n * s.k), in_rows);
      for (const auto& [row, rows] : {std::pair<int64_t, int64_t>{0, s.n}, {s.n / 2, s.n - s.n / 2}, {1, 1}})
        for (const auto& [col, cols] : {std::pair<int64_t, int64_t>{0, s.k}, {s.k / 3, s.k - s.k / 3}, {1, 1}}) {
          Operand to = operand({rows, cols}, Values(size_t(rows * cols), NAN), 3);
          unpack_tile(ctx, w.weight, row, col, to.view());
          Values part;
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c) part.push_back(w.values[size_t((row + r) * s.k + col + c)]);
          Operand expected = operand({rows, cols}, part);  // rounded to the dtype
          EXPECT_EQ(to.read(), expected.values()) << packing_name(packing);
          EXPECT_TRUE(to.gaps_untouched());
        }
    }
}

// A weight of old files: scales that are not packed, another block size, its own code book.
TEST_P(PackedLinearTest, ScalesMayBePlainAndBlocksOfAnotherSize) {
  const Size s{33, 70};
  PackedWeight w;
  w.packing = Packing::fp4;
  w.num_rows = s.n;
  w.num_cols = s.k;
  w.block = 32;
  std::vector<uint8_t> codes;
  for (int64_t i = 0; i < s.n * s.k; i += 2) codes.push_back(uint8_t(i * 37 + i / 16));
  const Values scales = normal(w.num_blocks()), book = normal(16);
  Operand scales_there = operand(DType::f32, {w.num_blocks()}, scales), book_there = operand(DType::f32, {16}, book);
  Buffer codes_there(ctx.device, codes.size());
  copy_to_device(ctx, codes_there.data(), codes.data(), codes.size());
  w.codes = Tensor(codes_there.data(), DType::u8, {int64_t(codes.size())});
  w.scales = scales_there.view();
  w.book = book_there.view();
  Values values;
  for (int64_t i = 0; i < s.n * s.k; ++i) {
    const uint8_t byte = codes[size_t(i / 2)];
    values.push_back(float(book_there.values()[i % 2 ? byte & 15 : byte >> 4]) *
                     float(scales_there.values()[size_t(i / 32)]));
  }
  const int64_t t = 3;
  Operand x = operand({t, s.k}, normal(t * s.k)), y = operand(DType::f32, {t, s.n}, Values(size_t(t * s.n), NAN));
  const Values expected = reference::gemm(x.values(), false, values, true, Values(size_t(t * s.n)), t, s.n, s.k, 1, 0);
  packed_linear(ctx, x.view(), w, nullptr, y.view());
  expect_close("y", y, expected, double(s.k), 8.0);
  for (const auto& [col, cols] : {std::pair<int64_t, int64_t>{0, s.k}, {3, 66}, {31, 2}, {69, 1}}) {
    Operand to = operand(DType::f32, {s.n, cols}, Values(size_t(s.n * cols), NAN));
    unpack_tile(ctx, w, 0, col, to.view());
    Values part;
    for (int64_t r = 0; r < s.n; ++r)
      for (int64_t c = 0; c < cols; ++c) part.push_back(values[size_t(r * s.k + col + c)]);
    EXPECT_EQ(to.read(), part) << col << " " << cols;
  }
}

TEST_P(PackedLinearTest, ShapesThatDoNotFitAreRefused) {
  const Size s{8, 64};
  Packed w = packed(ctx, Packing::nf4, s, normal(s.n * s.k));
  Operand x = operand({2, 63}, normal(2 * 63)), y = operand({2, 8}, normal(16)), fit = operand({2, 64}, normal(128));
  EXPECT_THROW(packed_linear(ctx, x.view(), w.weight, nullptr, y.view()), Error);
  EXPECT_THROW(packed_linear(ctx, fit.view(), PackedWeight(), nullptr, y.view()), Error);
  EXPECT_THROW(unpack_tile(ctx, w.weight, 7, 0, fit.view()), Error);
  PackedWeight torn = w.weight;
  torn.scales = torn.scales.rows(0, 3);
  EXPECT_THROW(packed_linear(ctx, fit.view(), torn, nullptr, y.view()), Error);
}

}  // namespace
}  // namespace vpref
