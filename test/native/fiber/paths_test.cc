// SPDX-License-Identifier: Apache-2.0
// The kernels' paths through a row give the same numbers: 16-byte accesses if every row is aligned, else single
// elements; values held in registers, and longer rows. Also, which products use the skinny kernel.
// Covers native/backend/cuda/gemm_paths.h
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "backend/cuda/gemm_paths.h"
#include "core/arena.h"
#include "core/memory.h"
#include "fiber/executor.h"
#include "ops/adamw.h"
#include "ops/elementwise.h"
#include "ops/gelu.h"
#include "ops/gemm.h"
#include "ops/layer_norm.h"
#include "ops/log_softmax.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/rows.h"
#include "ops/sample_token.h"
#include "ops/swiglu.h"

namespace vpref {
namespace {

// Tensors of random values on the device; rows are `gap` elements apart, the first one `offset` elements into its
// memory. The same values in the same order.
class Operands {
 public:
  Operands(int64_t gap, int64_t offset) : gap_(gap), offset_(offset) {}

  Tensor tensor(DType dtype, int64_t rows, int64_t width) {
    const int64_t stride = width + gap_;
    std::vector<char> bytes(size_t(offset_ + rows * stride) * dtype_size(dtype), char(0x7f));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < width; ++c) {
        const float v = normal_(random_);
        const size_t i = size_t(offset_ + r * stride + c);
        if (dtype == DType::f32)
          std::memcpy(&bytes[i * 4], &v, 4);
        else {
          const uint16_t bits = to_bf16(v).bits;
          std::memcpy(&bytes[i * 2], &bits, 2);
        }
      }
    buffers_.emplace_back(Device::cuda, bytes.size());
    copy_to_device(ctx, buffers_.back().data(), bytes.data(), bytes.size());
    Tensor t(static_cast<char*>(buffers_.back().data()) + size_t(offset_) * dtype_size(dtype), dtype, {rows, width});
    t.stride[0] = stride;
    return t;
  }
  Tensor vector(DType dtype, int64_t n) {
    const Tensor row = tensor(dtype, 1, n);
    return Tensor(row.data, dtype, {n});
  }
  Tensor index(const std::vector<int32_t>& values) {
    buffers_.emplace_back(Device::cuda, values.size() * 4);
    copy_to_device(ctx, buffers_.back().data(), values.data(), values.size() * 4);
    return Tensor(buffers_.back().data(), DType::i32, {int64_t(values.size())});
  }
  // The elements' bytes, row by row.
  std::string bytes(const Tensor& t) {
    std::string all;
    const int64_t rows = t.rank == 1 ? 1 : t.dim(0), width = t.numel() / rows;
    for (int64_t r = 0; r < rows; ++r) {
      std::string row(size_t(width) * dtype_size(t.dtype), '\0');
      copy_to_host(ctx, row.data(),
                   static_cast<char*>(t.data) + size_t(r * (t.rank == 1 ? 0 : t.stride[0])) * dtype_size(t.dtype),
                   row.size());
      all += row;
    }
    return all;
  }

  Context ctx{Device::cuda};

 private:
  int64_t gap_, offset_;
  std::mt19937_64 random_{5};
  std::normal_distribution<float> normal_;
  std::vector<Buffer> buffers_;
};

// Runs an op on operands of a dtype and width, and returns its output.
using Case = std::function<std::string(Operands&, DType, int64_t)>;

struct Named {
  const char* name;
  Case run;
};

std::vector<Named> cases() {
  constexpr int64_t t = 3;
  return {
      {"rms_norm",
       [](Operands& o, DType type, int64_t d) {
         const Tensor x = o.tensor(type, t, d), delta = o.tensor(type, t, d), w = o.vector(type, d),
                      y = o.tensor(type, t, d), rstd = o.vector(DType::f32, t);
         add_rms_norm(o.ctx, {x, delta, x}, w, 1e-5f, y, &rstd);
         const Tensor dy = o.tensor(type, t, d), dx = o.tensor(type, t, d);
         rms_norm_backward(o.ctx, dy, {x, w, rstd}, dx, true, nullptr);
         return o.bytes(x) + o.bytes(y) + o.bytes(rstd) + o.bytes(dx);
       }},
      {"layer_norm",
       [](Operands& o, DType type, int64_t d) {
         const Tensor x = o.tensor(type, t, d), w = o.vector(DType::f32, d), b = o.vector(type, d),
                      y = o.tensor(type, t, d);
         const Tensor flat = o.vector(DType::f32, 2 * t), stats(flat.data, DType::f32, {t, 2});
         layer_norm(o.ctx, x, w, b, 1e-5f, y, &stats);
         const Tensor dy = o.tensor(type, t, d), dx = o.tensor(type, t, d);
         layer_norm_backward(o.ctx, dy, {x, w, stats}, dx, false, nullptr, nullptr);
         return o.bytes(y) + o.bytes(flat) + o.bytes(dx);
       }},
      {"swiglu",
       [](Operands& o, DType type, int64_t d) {
         const Tensor gate = o.tensor(type, t, d), up = o.tensor(type, t, d), y = o.tensor(type, t, d),
                      dy = o.tensor(type, t, d);
         swiglu(o.ctx, gate, up, y);
         swiglu_backward(o.ctx, dy, gate, up, gate, up);
         return o.bytes(y) + o.bytes(gate) + o.bytes(up);
       }},
      {"gelu",
       [](Operands& o, DType type, int64_t d) {
         std::string all;
         for (Gelu kind : {Gelu::exact, Gelu::quick, Gelu::tanh}) {
           const Tensor x = o.tensor(type, t, d), y = o.tensor(type, t, d), dy = o.tensor(type, t, d);
           gelu(o.ctx, kind, x, y);
           gelu_backward(o.ctx, kind, dy, x, dy);
           all += o.bytes(y) + o.bytes(dy);
         }
         return all;
       }},
      {"rope",
       [](Operands& o, DType type, int64_t d) {
         const int64_t half = std::max<int64_t>(1, std::min<int64_t>(d, 256) / 4), heads = 2;
         const Tensor x = o.tensor(type, t, heads * 2 * half), y = o.tensor(type, t, heads * 2 * half),
                      frequency = o.vector(DType::f32, half);
         std::vector<int32_t> axis;
         for (int64_t i = 0; i < half; ++i) axis.push_back(int32_t(i % 3));
         rope(o.ctx, x.heads(heads), {o.index({0, 5, 630}).reshaped({1, t}), frequency, {}});
         rope(o.ctx, y.heads(heads),
              {o.index({0, 5, 630, 1, 6, 9, 2, 7, 8}).reshaped({3, t}), frequency, o.index(axis)});
         return o.bytes(x) + o.bytes(y);
       }},
      {"rope_to_cache",
       [](Operands& o, DType type, int64_t d) {
         const int64_t half = std::max<int64_t>(1, std::min<int64_t>(d, 256) / 4), heads = 2, kv_heads = 1;
         const Tensor x = o.tensor(type, t, (heads + 2 * kv_heads) * 2 * half),
                      keys = o.tensor(type, 7, kv_heads * 2 * half), values = o.tensor(type, 7, kv_heads * 2 * half);
         const Rotation rotation{o.index({0, 5, 630}).reshaped({1, t}), o.vector(DType::f32, half), {}};
         rope_to_cache(o.ctx, x.heads(heads + 2 * kv_heads), rotation, o.index({6, 0, 3}), keys.heads(kv_heads),
                       values.heads(kv_heads));
         return o.bytes(x.cols(0, heads * 2 * half)) + o.bytes(keys) + o.bytes(values);
       }},
      {"elementwise",
       [](Operands& o, DType type, int64_t d) {
         const Tensor x = o.tensor(type, t, d), y = o.tensor(DType::f32, t, d), z = o.tensor(DType::bf16, t, d),
                      scale = o.vector(DType::f32, t);
         add(o.ctx, x, y, 0.5f);
         convert(o.ctx, y, z);
         scale_rows(o.ctx, scale, x);
         return o.bytes(x) + o.bytes(y) + o.bytes(z);
       }},
      {"rows",
       [](Operands& o, DType type, int64_t d) {
         const Tensor x = o.tensor(type, t, d), y = o.tensor(DType::f32, 5, d), z = o.tensor(DType::bf16, 5, d),
                      w = o.tensor(DType::f32, 5, d);
         const Tensor five = o.index({2, -1, 0, 77, 2}), three = o.index({4, 1, 4});  // 77 is outside: skipped on a GPU
         gather_rows(o.ctx, x, five, y);
         scatter_rows(o.ctx, x, o.index({3, -1, 0}), z);
         scatter_add_rows(o.ctx, x, three, w);
         return o.bytes(y) + o.bytes(z) + o.bytes(w);
       }},
      {"log_softmax",
       [](Operands& o, DType type, int64_t d) {
         const Tensor logits = o.tensor(type, t, d), logp = o.vector(DType::f32, t);
         log_softmax_gather(o.ctx, logits, o.index({0, int32_t(d - 1), int32_t(d / 2)}), logp, true);
         return o.bytes(logits) + o.bytes(logp);
       }},
      {"sample_token",
       [](Operands& o, DType type, int64_t d) {
         const Tensor logits = o.tensor(type, t, d), token = o.index({-1, -1, -1}), logp = o.vector(DType::f32, t);
         const std::vector<SampleParams> params = {{.temperature = 1.0f, .seed = 3},
                                                   {.temperature = 0.7f, .top_p = 0.8f, .seed = 4},
                                                   {.temperature = 1.2f, .top_k = 9, .seed = 5}};
         sample_token(o.ctx, logits, o.index(sample_words(params)).reshaped({t, kSampleWords}), token, logp);
         return o.bytes(token) + o.bytes(logp);
       }},
      {"adamw",
       [](Operands& o, DType, int64_t d) {
         const Tensor param = o.vector(DType::f32, d), grad = o.vector(DType::f32, d), m = o.vector(DType::f32, d),
                      copy = o.vector(DType::bf16, d);
         const Tensor v = o.vector(DType::f32, d);
         fill(o.ctx, 0.25f, v);
         adamw(o.ctx, {.lr = 1e-3}, param, grad, m, v, &copy);
         const double norm = sum_of_squares(o.ctx, grad);
         return o.bytes(param) + o.bytes(m) + o.bytes(v) + o.bytes(copy) +
                std::string(reinterpret_cast<const char*>(&norm), sizeof norm);
       }},
      {"linear's bias",
       [](Operands& o, DType type, int64_t d) {
         const Tensor x = o.tensor(type, t, 4), w = o.tensor(type, d, 4), b = o.vector(DType::f32, d),
                      y = o.tensor(type, t, d);
         linear(o.ctx, x, w, &b, y);
         return o.bytes(y);
       }},
  };
}

TEST(Paths, AlignedAndUnalignedRowsGiveTheSameBytes) {
  for (const Named& c : cases())
    for (DType type : {DType::f32, DType::bf16})
      for (int64_t d : {8, 13, 300, 1048}) {
        Operands aligned(/*gap=*/(8 - d % 8) % 8 + 8, 0), unaligned(/*gap=*/1, /*offset=*/1), dense(0, 0);
        const std::string expected = c.run(aligned, type, d);
        EXPECT_EQ(c.run(unaligned, type, d), expected)
            << c.name << " of " << dtype_name(type) << ", " << d << " columns";
        EXPECT_EQ(c.run(dense, type, d), expected)
            << c.name << " of " << dtype_name(type) << ", " << d << " columns without gaps";
      }
}

TEST(Paths, TheOrderOfWarpsChangesNothing) {
  for (const Named& c : cases())
    for (int64_t d : {300, 2000}) {
      fiber::set_seed(1);
      Operands first(0, 0);
      const std::string expected = c.run(first, DType::bf16, d);
      for (uint64_t seed = 2; seed < 6; ++seed) {
        fiber::set_seed(seed);
        Operands again(0, 0);
        EXPECT_EQ(c.run(again, DType::bf16, d), expected) << c.name << ", " << d << " columns, seed " << seed;
      }
    }
}

// Beyond 16384 columns a norm reads again the columns that its registers do not hold. Every row is constant, so the
// result is known.
TEST(Paths, RowsMayBeLongerThanTheRegisters) {
  const int64_t d = 16384 + 1000;
  Context ctx(Device::cuda);
  const auto device = [&](const std::vector<float>& values) {
    Buffer b(Device::cuda, values.size() * 4);
    copy_to_device(ctx, b.data(), values.data(), values.size() * 4);
    return b;
  };
  std::vector<float> values(static_cast<size_t>(d));
  for (size_t i = 0; i < values.size(); ++i) values[i] = i % 2 ? 3.0f : -1.0f;  // mean 1, mean square 5, variance 4
  Buffer xb = device(values), wb = device(std::vector<float>(size_t(d), 2.0f)),
         bb = device(std::vector<float>(size_t(d), 0.5f)), yb = device(values);
  Buffer gb = device(values), sb = device({0, 0}), ob = device(std::vector<float>(size_t(d), 1.0f));
  const Tensor x(xb.data(), DType::f32, {1, d}), w(wb.data(), DType::f32, {d}), b(bb.data(), DType::f32, {d}),
      y(yb.data(), DType::f32, {1, d});
  const Tensor g(gb.data(), DType::f32, {1, d}), stats(sb.data(), DType::f32, {1, 2}), rstd(sb.data(), DType::f32, {1}),
      dx(ob.data(), DType::f32, {1, d});
  std::vector<float> got(static_cast<size_t>(d));
  const auto expect = [&](const Tensor& t, float even, float odd, const char* what) {
    copy_to_host(ctx, got.data(), t.data, got.size() * 4);
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], i % 2 ? odd : even, 1e-4) << what << "[" << i << "]";
  };
  layer_norm(ctx, x, w, b, 0.0f, y, &stats);
  expect(y, -1.5f, 2.5f, "layer_norm");
  layer_norm_backward(ctx, g, {x, w, stats}, dx, /*accumulate=*/true, nullptr,
                      nullptr);  // dy is affine in x, so only the old gradient remains
  expect(dx, 1.0f, 1.0f, "layer_norm_backward");
  rms_norm(ctx, x, w, 0.0f, y, &rstd);
  const float r = 1.0f / std::sqrt(5.0f);
  expect(y, -2 * r, 6 * r, "rms_norm");
  rms_norm_backward(ctx, g, {x, w, rstd}, dx, /*accumulate=*/true, nullptr);
  expect(dx, 1.0f, 1.0f, "rms_norm_backward");
  add_rms_norm(ctx, {x, g, x}, w, 0.0f, y, nullptr);
  expect(x, -2.0f, 6.0f, "residual");
  expect(y, -2 * r, 6 * r, "add_rms_norm");
}

// The stand-in for cuBLASLt runs no kernel.
TEST(Paths, SkinnyProductsUseTheirKernel) {
  Operands even(/*gap=*/8, 0), odd(/*gap=*/1, 0), shifted(/*gap=*/8, /*offset=*/1);
  const int64_t n = 40;
  const auto kernels = [&](const Tensor& x, const Tensor& w, DType out = DType::bf16) {
    const Tensor y = even.tensor(out, x.dim(0), w.dim(0));
    const uint64_t before = fiber::launches();
    linear(even.ctx, x, w, nullptr, y);
    const uint64_t linears = fiber::launches() - before;
    if (x.dtype == w.dtype) {
      gemm(even.ctx, x, transposed(w), y, 0.5f, 1.0f);
      EXPECT_EQ(fiber::launches() - before, 2 * linears) << "gemm";
      EXPECT_EQ(cuda::takes_skinny(x, transposed(w)), linears == 1);
    }
    return linears;
  };
  const Tensor w = even.tensor(DType::bf16, n, 72);
  for (int64_t t = 1; t <= 16; ++t)
    for (DType out : {DType::f32, DType::bf16})
      EXPECT_EQ(kernels(even.tensor(DType::bf16, t, 72), w, out), 1u) << t << " rows";
  EXPECT_EQ(kernels(even.tensor(DType::bf16, 3, 80).cols(8, 72), w), 1u) << "part of a wider row";
  const Tensor x = even.tensor(DType::bf16, 16, 72);
  EXPECT_EQ(kernels(even.tensor(DType::bf16, 17, 72), w), 0u) << "17 rows";
  EXPECT_EQ(kernels(even.tensor(DType::f32, 1, 72), even.tensor(DType::f32, n, 72), DType::f32), 0u) << "f32";
  EXPECT_EQ(kernels(odd.tensor(DType::bf16, 2, 72), w), 0u) << "x in rows that are not aligned";
  EXPECT_EQ(kernels(x, odd.tensor(DType::bf16, n, 72)), 0u) << "w in rows that are not aligned";
  EXPECT_EQ(kernels(shifted.tensor(DType::bf16, 2, 72), w), 0u) << "x that starts between";
  EXPECT_EQ(kernels(even.tensor(DType::bf16, 2, 76), even.tensor(DType::bf16, n, 76)), 0u) << "76 inputs";
  EXPECT_EQ(kernels(x, even.tensor(DType::f32, n, 72)), 2u) << "an f32 weight: converted first";
  // The other transposes, and the product that the bench compares.
  const Tensor y = even.tensor(DType::f32, 16, n), z = even.tensor(DType::f32, 16, n),
               b = even.tensor(DType::bf16, 72, n), c = even.tensor(DType::bf16, 72, 16);
  const uint64_t before = fiber::launches();
  gemm(even.ctx, x, b, y);
  gemm(even.ctx, transposed(c), transposed(w), y);
  cuda::gemm_cublaslt(even.ctx, x, transposed(w), y, 0.5f);
  EXPECT_EQ(fiber::launches(), before);
  gemm(even.ctx, x, transposed(w), z, 0.5f);
  std::vector<float> library(static_cast<size_t>(n)), own(static_cast<size_t>(n));
  for (int64_t row : {0, 15}) {
    copy_to_host(even.ctx, library.data(), y.rows(row, 1).data, size_t(n) * 4);
    copy_to_host(even.ctx, own.data(), z.rows(row, 1).data, size_t(n) * 4);
    for (size_t i = 0; i < own.size(); ++i) EXPECT_NEAR(own[i], library[i], 1e-5) << "row " << row << ", column " << i;
  }
}

TEST(Paths, TheOrderOfWarpsChangesNoSkinnyProduct) {
  for (const int64_t t : {2, 7, 16}) {
    std::string expected;
    for (uint64_t seed = 1; seed < 7; ++seed) {
      fiber::set_seed(seed);
      Operands o(8, 0);
      const Tensor x = o.tensor(DType::bf16, t, 2008), w = o.tensor(DType::bf16, 130, 2008),
                   y = o.tensor(DType::f32, t, 130);
      gemm(o.ctx, x, transposed(w), y, 2.0f, 1.0f);
      if (expected.empty()) expected = o.bytes(y);
      EXPECT_EQ(o.bytes(y), expected) << t << " rows, seed " << seed;
    }
  }
}

}  // namespace
}  // namespace vpref
