// SPDX-License-Identifier: Apache-2.0
// Covers native/backend/cuda/gemm.cu native/backend/cuda/gemm_skinny.cuh native/backend/cuda/memory.cu
// Covers native/backend/cpu/product_avx512bf16.cc
#include "ops/gemm.h"

#include "backend/cpu/matmul.h"
#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

using GemmTest = OpTest;
VPREF_OP_TEST(GemmTest);

struct Size {
  int64_t m, n, k;
};

// The largest term of a sum, for expect_close: with bf16 activations, f16 weights may be rounded to bf16.
double norm_of(DType activation, DType weight) {
  return activation == DType::bf16 && weight == DType::f16
             ? 4.0 * unit_roundoff(DType::bf16) / unit_roundoff(DType::f32) / 8
             : 4.0;
}

TEST_P(GemmTest, AllTransposesScalesAndStridesEqualTheReference) {
  for (const Size s : {Size{1, 1, 1}, {3, 5, 7}, {17, 33, 65}, {64, 96, 128}, {13, 100, 400}})
    for (int flags = 0; flags < 4; ++flags)
      for (const auto& [alpha, beta] : {std::pair{1.0f, 0.0f}, {0.5f, 1.0f}, {-2.0f, 0.25f}}) {
        const bool ta = flags & 1, tb = flags & 2;
        Operand a = ta ? operand({s.k, s.m}, normal(s.m * s.k), 3) : operand({s.m, s.k}, normal(s.m * s.k), 3);
        Operand b = tb ? operand({s.n, s.k}, normal(s.n * s.k), 5) : operand({s.k, s.n}, normal(s.n * s.k), 5);
        for (DType out : {DType::f32, dtype()}) {
          Operand c = operand(out, {s.m, s.n}, beta == 0.0f ? Values(size_t(s.m * s.n), NAN) : normal(s.m * s.n), 7);
          const Values expected =
              reference::gemm(a.values(), ta, b.values(), tb, c.values(), s.m, s.n, s.k, alpha, beta);
          gemm(ctx, {a.view(), ta}, {b.view(), tb}, c.view(), alpha, beta);
          SCOPED_TRACE(::testing::Message() << s.m << "x" << s.n << "x" << s.k << " flags " << flags << " alpha "
                                            << alpha << " beta " << beta);
          expect_close("c", c, expected, double(s.k), 4.0 * std::fabs(double(alpha)));
        }
      }
}

TEST_P(GemmTest, LinearTakesEveryWeightDtypeAndRowCount) {
  for (const int64_t t : {1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 50})
    for (DType weight_dtype : {DType::f32, DType::bf16, DType::f16})
      for (const Size s : {Size{t, 37, 129}, {t, 64, 64}})
        for (const int mode : {0, 1, 2}) {
          Operand x = operand({t, s.k}, normal(t * s.k), 4);
          Operand w = operand(weight_dtype, {s.n, s.k}, normal(s.n * s.k), mode);
          Operand bias = operand(mode == 1 ? weight_dtype : DType::f32, {s.n}, normal(s.n));
          Operand y = operand({t, s.n}, mode == 2 ? normal(t * s.n) : Values(size_t(t * s.n), NAN), 2);
          Values expected =
              reference::gemm(x.values(), false, w.values(), true, y.values(), t, s.n, s.k, 1, mode == 2 ? 1 : 0);
          if (mode > 0)
            for (size_t i = 0; i < expected.size(); ++i) expected[i] += bias.values()[i % size_t(s.n)];
          linear(ctx, x.view(), w.view(), mode > 0 ? &bias.view() : nullptr, y.view(), mode == 2 ? 1.0f : 0.0f);
          SCOPED_TRACE(::testing::Message() << t << " rows, weight " << dtype_name(weight_dtype) << ", mode " << mode);
          expect_close("y", y, expected, double(s.k), norm_of(dtype(), weight_dtype));
        }
}

// On CUDA bf16 products of at most 16 rows have their own kernel: its edges in every direction, with rows aligned to 16
// bytes, as it requires.
TEST_P(GemmTest, SkinnyProductsEqualTheReference) {
  if (dtype() != DType::bf16) GTEST_SKIP() << "bf16 only";
  for (const int64_t t : {1, 2, 4, 5, 8, 9, 15, 16, 17})
    for (const Size s : {Size{t, 1, 8}, {t, 16, 64}, {t, 50, 72}, {t, 31, 520}, {t, 130, 1096}, {t, 96, 4104}}) {
      Operand x = operand({t, s.k}, normal(t * s.k), 8), w = operand({s.n, s.k}, normal(s.n * s.k), 16);
      const Values product =
          reference::gemm(x.values(), false, w.values(), true, Values(size_t(t * s.n)), t, s.n, s.k, 1, 0);
      for (DType out : {DType::f32, dtype()}) {
        SCOPED_TRACE(::testing::Message() << t << "x" << s.k << "x" << s.n << " to " << dtype_name(out));
        // The table's bound for bf16, and a much narrower one for our kernel: factors are exact, sums are f32, and the
        // result is rounded once.
        const auto expect_sums = [&](const char* name, Operand& y, const Values& expected) {
          expect_close(name, y, expected, double(s.k), 8.0);
          if (ctx.device != Device::cuda || t > 16) return;
          const Values got = y.read();
          for (size_t i = 0; i < got.size(); ++i)
            ASSERT_NEAR(got[i], expected[i], unit_roundoff(out) * std::fabs(expected[i]) + 0x1p-21 * double(s.k + 64))
                << name << "[" << i << "]";
        };
        for (const auto& [alpha, beta] : {std::pair{1.0f, 0.0f}, {0.5f, 1.0f}, {-2.0f, 0.25f}}) {
          Operand y = operand(out, {t, s.n}, beta == 0.0f ? Values(size_t(t * s.n), NAN) : normal(t * s.n), 3);
          Values expected = product;
          for (size_t i = 0; i < expected.size(); ++i)
            expected[i] = alpha * expected[i] + (beta == 0.0f ? 0.0 : beta * y.values()[i]);
          gemm(ctx, x.view(), transposed(w.view()), y.view(), alpha, beta);
          expect_sums("gemm", y, expected);
        }
        for (DType bias_dtype : {DType::f32, DType::bf16, DType::f16}) {
          Operand y = operand(out, {t, s.n}, normal(t * s.n), 1), bias = operand(bias_dtype, {s.n}, normal(s.n));
          Values expected = product;
          for (size_t i = 0; i < expected.size(); ++i) expected[i] += y.values()[i] + bias.values()[i % size_t(s.n)];
          linear(ctx, x.view(), w.view(), &bias.view(), y.view(), 1.0f);
          expect_sums("linear", y, expected);
        }
      }
    }
}

// Alone, or at any place among up to 16 rows.
TEST_P(GemmTest, ARowOfASkinnyProductHasTheSameBytes) {
  if (ctx.device != Device::cuda || dtype() != DType::bf16) GTEST_SKIP() << "CUDA, bf16 only";
  const int64_t most = 16;
  for (const Size s : {Size{most, 40, 136}, {most, 130, 1096}, {most, 4300, 64}})
    for (DType out : {DType::f32, DType::bf16}) {
      Operand x = operand({most, s.k}, normal(most * s.k)), w = operand({s.n, s.k}, normal(s.n * s.k)),
              bias = operand({s.n}, normal(s.n));
      const Values before = normal(most * s.n);
      const auto rows = [&](int64_t first, int64_t count) {
        Operand y = operand(out, {most, s.n}, before);
        linear(ctx, x.view().rows(first, count), w.view(), &bias.view(), y.view().rows(first, count), 0.5f);
        const Values all = y.read();
        return Values(all.begin() + first * s.n, all.begin() + (first + count) * s.n);
      };
      const Values together = rows(0, most);
      const auto expect_part = [&](int64_t first, int64_t count) {
        EXPECT_EQ(rows(first, count), Values(together.begin() + first * s.n, together.begin() + (first + count) * s.n))
            << count << " rows from " << first << " of " << s.k << "x" << s.n << " to " << dtype_name(out);
      };
      const int64_t step = s.n < 1000 ? 1 : 4;  // wide blocks on a large GPU
      for (int64_t t = 1; t < most; t += step) expect_part(0, t);
      for (int64_t first = 1; first < most; first += step) expect_part(first, 1);
      expect_part(3, 7);
    }
}

// The same on the CPU, for any number of rows, threads and columns, and any weight dtype.
TEST_P(GemmTest, ARowsBytesDoNotDependOnOtherRows) {
  if (ctx.device != Device::cpu) GTEST_SKIP() << "CPU only";
  const int64_t most = 70;
  for (const Size s : {Size{most, 40, 136}, {most, 131, 1096}, {most, 9, 2500}, {most, 300, 16}, {most, 5, 3}})
    for (DType weight : {DType::f32, DType::bf16, DType::f16})
      for (DType out : {DType::f32, dtype()}) {
        SCOPED_TRACE(::testing::Message()
                     << s.k << "x" << s.n << " weight " << dtype_name(weight) << " to " << dtype_name(out));
        Operand x = operand({most, s.k}, normal(most * s.k), 5), w = operand(weight, {s.n, s.k}, normal(s.n * s.k), 3),
                bias = operand(DType::f32, {s.n}, normal(s.n));
        const Values before = normal(most * s.n);
        const auto rows = [&](int64_t first, int64_t count, bool bare) {
          Operand y = operand(out, {most, s.n}, before, 2);
          linear(ctx, x.view().rows(first, count), w.view(), bare ? nullptr : &bias.view(), y.view().rows(first, count),
                 bare ? 0.0f : 0.5f);
          if (weight == dtype() && !bare)
            gemm(ctx, x.view().rows(first, count), transposed(w.view()), y.view().rows(first, count), 0.25f, 1.0f);
          const Values all = y.read();
          return Values(all.begin() + first * s.n, all.begin() + (first + count) * s.n);
        };
        for (const bool bare : {true, false}) {
          ctx.num_threads = 2;
          const Values together = rows(0, most, bare);
          const auto expect_part = [&](int64_t first, int64_t count) {
            ctx.num_threads = int(1 + (first + count) % 5);
            ASSERT_EQ(rows(first, count, bare),
                      Values(together.begin() + first * s.n, together.begin() + (first + count) * s.n))
                << count << " rows from " << first;
          };
          for (int64_t count = 1; count < 26; ++count) expect_part((count * 7) % (most - count), count);
          for (const int64_t count : {33, 48, 69}) expect_part(1, count);
          for (int64_t first = 0; first < most; first += 9) expect_part(first, 1);
        }
      }
}

// One shape at several addresses, and with another bias: the choice for the first must not be reused wrongly for the
// next.
TEST_P(GemmTest, OperandsMayHaveAnyAlignment) {
  const int64_t t = 3, k = 24, n = 16, last = 4;
  Operand x = operand({t + last, k}, normal((t + last) * k), 1), weight = operand({n, k}, normal(n * k)),
          bias = operand({2 * n}, normal(2 * n));
  for (const int64_t at : {int64_t(0), int64_t(1), int64_t(2), last}) {
    Operand y = operand({t + last, n}, Values(size_t((t + last) * n)), 1);
    const Tensor bias_view = bias.view().rows(4 * at, n);
    linear(ctx, x.view().rows(at, t), weight.view(), &bias_view, y.view().rows(at, t));
    const Values some(x.values().begin() + at * k, x.values().begin() + (at + t) * k);
    const Values product =
        reference::gemm(some, false, weight.values(), true, Values(size_t(t * n)), t, n, k, 1.0, 0.0);
    Values expected((size_t((t + last) * n)));
    for (int64_t i = 0; i < t * n; ++i)
      expected[size_t(at * n + i)] = product[size_t(i)] + bias.values()[size_t(4 * at + i % n)];
    expect_close("y", y, expected, double(k));
  }
}

// Weights of a mapped file begin anywhere, with NaN before and behind.
TEST_P(GemmTest, WhereWeightsBeginChangesNoBytes) {
  if (ctx.device != Device::cpu) GTEST_SKIP() << "CPU only";
  const int64_t most = 40;
  for (const Size s : {Size{most, 40, 32}, {most, 18, 64}, {most, 40, 1088}, {most, 33, 2112}, {most, 9, 1027}})
    for (DType weight : {DType::f32, DType::bf16, DType::f16}) {
      const Values values = normal(s.n * s.k);
      Operand x = operand({most, s.k}, normal(most * s.k)), aligned = operand(weight, {s.n, s.k}, values);
      for (const int64_t rows : {1, 2, 7, 12, 30, 40}) {
        Operand y = operand({most, s.n}, Values(size_t(most * s.n)));
        linear(ctx, x.view().rows(0, rows), aligned.view(), nullptr, y.view().rows(0, rows));
        const Values expected = y.read();
        for (const int64_t at : {1, 2, 4, 6, 12, 30}) {
          SCOPED_TRACE(::testing::Message() << rows << "x" << s.k << "x" << s.n << " weight " << dtype_name(weight)
                                            << " from element " << at);
          Values all(size_t(s.n * s.k + 64), NAN);
          std::copy(values.begin(), values.end(), all.begin() + at);
          Operand flat = operand(weight, {s.n * s.k + 64}, all);
          const Tensor w(static_cast<char*>(flat.view().data) + size_t(at) * dtype_size(weight), weight, {s.n, s.k});
          linear(ctx, x.view().rows(0, rows), w, nullptr, y.view().rows(0, rows));
          ASSERT_EQ(y.read(), expected);
        }
      }
    }
}

TEST_P(GemmTest, LinearBackwardEqualsTheReference) {
  for (const int64_t t : {1, 5, 40})
    for (DType weight_dtype : {DType::f32, DType::bf16, DType::f16}) {
      const int64_t n = 45, k = 70;
      Operand dy = operand({t, n}, normal(t * n), 1), x = operand({t, k}, normal(t * k), 2);
      Operand w = operand(weight_dtype, {n, k}, normal(n * k));
      Operand dx = operand({t, k}, normal(t * k));
      const Values dx_expected = reference::gemm(dy.values(), false, w.values(), false, dx.values(), t, k, n, 1, 1);
      linear_backward_input(ctx, dy.view(), w.view(), dx.view(), 1.0f);
      expect_close("dx", dx, dx_expected, double(n), norm_of(dtype(), weight_dtype));
      Operand dw = operand(DType::f32, {n, k}, normal(n * k)), db = operand(DType::f32, {n}, normal(n));
      const Values dw_expected = reference::gemm(dy.values(), true, x.values(), false, dw.values(), n, k, t, 0.5, 1);
      Values db_expected = db.values();
      for (size_t i = 0; i < dy.values().size(); ++i) db_expected[i % size_t(n)] += 0.5 * dy.values()[i];
      linear_backward_weight(ctx, dy.view(), x.view(), dw.view(), &db.view(), 0.5f);
      expect_close("dweight", dw, dw_expected, double(t), 4.0);
      expect_close("dbias", db, db_expected, double(t), 4.0);
    }
}

// The kernels of a build without oneDNN, over more than one block in each direction.
TEST_P(GemmTest, TheBuiltInProductOverSeveralBlocksEqualsTheReference) {
  if (ctx.device != Device::cpu) GTEST_SKIP() << "CPU only";
  const int64_t m = 61, n = 3100, k = 400;
  Operand a = operand({m, k}, normal(m * k)), b = operand({n, k}, normal(n * k)), c = operand({m, n}, normal(m * n));
  const cpu::Matmul p{m,       n, k, a.view().data, dtype(), k, 1,    b.view().data,
                      dtype(), 1, k, c.view().data, dtype(), n, 0.5f, 2.0f};
  const Values expected = reference::gemm(a.values(), false, b.values(), true, c.values(), m, n, k, 0.5, 2);
  cpu::matmul_builtin(ctx, p, ctx.workspace.get(cpu::matmul_builtin_bytes(ctx, p)));
  expect_close("c", c, expected, double(k), 4.0);
}

TEST_P(GemmTest, TheNumberOfThreadsChangesNoBytes) {
  if (ctx.device != Device::cpu) GTEST_SKIP() << "CPU only";
  for (const int64_t t : {1, 8, 70}) {
    const int64_t n = 300, k = 257;
    Operand x = operand({t, k}, normal(t * k)), w = operand({n, k}, normal(n * k)),
            y = operand({t, n}, Values(size_t(t * n)));
    Values first;
    for (int threads : {1, 2, 1, 2}) {
      ctx.num_threads = threads;
      const cpu::Matmul p{t,       n, k, x.view().data, dtype(), k, 1, w.view().data,
                          dtype(), 1, k, y.view().data, dtype(), n, 1, 0};
      cpu::matmul_builtin(ctx, p, ctx.workspace.get(cpu::matmul_builtin_bytes(ctx, p)));
      const Values now = y.read();
      if (first.empty()) first = now;
      EXPECT_EQ(now, first) << t << " rows on " << threads << " threads";
    }
  }
}

TEST_P(GemmTest, InvalidOperandsAreRefusedByName) {
  Operand x = operand({2, 3}, normal(6)), w = operand({4, 5}, normal(20)), y = operand({2, 4}, normal(8));
  try {
    linear(ctx, x.view(), w.view(), nullptr, y.view());
    FAIL() << "took a weight of the wrong width";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "shape");
    EXPECT_NE(std::string(e.what()).find("[linear] x: expected [any, 5], got [2, 3]"), std::string::npos) << e.what();
  }
  EXPECT_THROW(gemm(ctx, x.view(), w.view(), y.view()), Error);
}

}  // namespace
}  // namespace vpref
