// SPDX-License-Identifier: Apache-2.0
// The table of every op test: device, instruction set, dtype; and operands on the device.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/kernels.h"
#include "core/arena.h"
#include "core/memory.h"
#include "core/tensor.h"

namespace vpref {

using Values = std::vector<double>;

struct Variant {
  Device device;
  const char* kernels;  // CPU: the kernel table
  DType dtype;          // of the activations
  int threads;
};

inline void PrintTo(const Variant& v, std::ostream* os) {
  *os << (v.device == Device::cpu ? v.kernels : "cuda") << "_" << dtype_name(v.dtype) << "_" << v.threads;
}

inline std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (DType dtype : {DType::f32, DType::bf16}) {
    for (const char* name : {"plain", "avx2", "avx512"}) all.push_back({Device::cpu, name, dtype, 2});
    all.push_back({Device::cpu, "plain", dtype, 1});
    all.push_back({Device::cuda, "cuda", dtype, 1});
  }
  return all;
}

inline double unit_roundoff(DType t) { return t == DType::bf16 ? 0x1p-8 : t == DType::f16 ? 0x1p-11 : 0x1p-24; }

// An operand: values rounded to its dtype, on the host and on the device.
class Operand {
 public:
  Operand() = default;
  Operand(Context& ctx, DType dtype, std::initializer_list<int64_t> shape, const Values& values, int64_t row_gap = 0)
      : ctx_(&ctx), values_(values) {
    int64_t rows = 1, width = 1;
    int i = 0;
    for (int64_t n : shape) (i++ == 0 && shape.size() > 1 ? rows : width) *= n;
    stride_ = width + row_gap;
    width_ = width;
    bytes_.assign(size_t(rows * stride_) * dtype_size(dtype), char(0xff));  // the gaps hold NaN
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < width; ++c)
        values_[size_t(r * width + c)] = put(dtype, size_t(r * stride_ + c), float(values[size_t(r * width + c)]));
    buffer_ = Buffer(ctx.device, bytes_.size());
    copy_to_device(ctx, buffer_.data(), bytes_.data(), bytes_.size());
    view_ = Tensor(buffer_.data(), dtype, shape);
    if (shape.size() > 1) view_.stride[0] = stride_;
  }
  const Tensor& view() const { return view_; }
  const Values& values() const { return values_; }
  // The current values on the device.
  Values read() {
    copy_to_host(*ctx_, bytes_.data(), buffer_.data(), bytes_.size());
    Values out(values_.size());
    for (size_t i = 0; i < out.size(); ++i) out[i] = get(i / size_t(width_) * size_t(stride_) + i % size_t(width_));
    return out;
  }
  // Whether nothing was written between the rows.
  bool gaps_untouched() {
    copy_to_host(*ctx_, bytes_.data(), buffer_.data(), bytes_.size());
    const size_t size = dtype_size(view_.dtype);
    for (size_t r = 0; r < bytes_.size() / (size_t(stride_) * size); ++r)
      for (size_t b = (r * size_t(stride_) + size_t(width_)) * size; b < (r + 1) * size_t(stride_) * size; ++b)
        if (bytes_[b] != char(0xff)) return false;
    return true;
  }

 private:
  double put(DType dtype, size_t i, float value) {
    if (dtype == DType::f32) std::memcpy(&bytes_[i * 4], &value, 4);
    const uint16_t bits = dtype == DType::bf16 ? to_bf16(value).bits : to_f16(value).bits;
    if (dtype != DType::f32) std::memcpy(&bytes_[i * 2], &bits, 2);
    return dtype == DType::f32    ? double(value)
           : dtype == DType::bf16 ? double(to_f32(bf16_t{bits}))
                                  : double(to_f32(f16_t{bits}));
  }
  double get(size_t i) const {
    uint16_t bits;
    float value;
    if (view_.dtype == DType::f32) {
      std::memcpy(&value, &bytes_[i * 4], 4);
      return value;
    }
    std::memcpy(&bits, &bytes_[i * 2], 2);
    return view_.dtype == DType::bf16 ? to_f32(bf16_t{bits}) : to_f32(f16_t{bits});
  }

  Context* ctx_ = nullptr;
  Values values_;
  std::vector<char> bytes_;
  Buffer buffer_;
  Tensor view_;
  int64_t width_ = 0, stride_ = 0;
};

class OpTest : public ::testing::TestWithParam<Variant> {
 protected:
  void SetUp() override {
    if (GetParam().device == Device::cuda) {
      try {
        device_free(Device::cuda, device_alloc(Device::cuda, 64));
      } catch (const std::exception& e) {
        GTEST_SKIP() << "no CUDA device: " << e.what();
      }
    } else if (!cpu::use_kernels(GetParam().kernels)) {
      GTEST_SKIP() << "this CPU or build has no " << GetParam().kernels << " kernels";
    }
  }
  void TearDown() override { cpu::use_kernels(nullptr); }

  DType dtype() const { return GetParam().dtype; }
  Values normal(int64_t n, double scale = 1.0) {
    std::normal_distribution<double> d(0.0, scale);
    Values v(static_cast<size_t>(n));
    for (double& x : v) x = d(random_);
    return v;
  }
  Operand operand(std::initializer_list<int64_t> shape, const Values& values, int64_t gap = 0) {
    return {ctx, dtype(), shape, values, gap};
  }
  Operand operand(DType t, std::initializer_list<int64_t> shape, const Values& values, int64_t gap = 0) {
    return {ctx, t, shape, values, gap};
  }
  // A dense i32 tensor on the device; lives as long as the test.
  Tensor index(const std::vector<int32_t>& values, bool as_row = false) {
    int_buffers_.emplace_back(ctx.device, values.size() * 4 + 4);
    copy_to_device(ctx, int_buffers_.back().data(), values.data(), values.size() * 4);
    const int64_t n = int64_t(values.size());
    return as_row ? Tensor(int_buffers_.back().data(), DType::i32, {1, n})
                  : Tensor(int_buffers_.back().data(), DType::i32, {n});
  }
  std::vector<int32_t> read_ints(const Tensor& t) {
    std::vector<int32_t> v(size_t(t.numel()));
    copy_to_host(ctx, v.data(), t.data, v.size() * 4);
    return v;
  }

  // |actual - expected| <= 2 roundoff(output) |expected| + 8 roundoff(arithmetic) (|expected| + sqrt(terms) norm), norm
  // = the largest |expected| unless given: sums of `terms` products of random sign grow like their square root; 8
  // covers the tail over all elements.
  void expect_close(const char* name, Operand& actual, const Values& expected, double terms = 1, double norm = 0) {
    const Values got = actual.read();
    ASSERT_EQ(got.size(), expected.size()) << name;
    if (norm == 0)
      for (double e : expected) norm = std::max(norm, std::fabs(e));
    const double arithmetic = GetParam().device == Device::cuda ? unit_roundoff(dtype()) : unit_roundoff(DType::f32);
    int shown = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double tolerance = 2 * unit_roundoff(actual.view().dtype) * std::fabs(expected[i]) +
                               8 * arithmetic * (std::fabs(expected[i]) + std::sqrt(terms) * norm);
      if (std::fabs(got[i] - expected[i]) <= tolerance) continue;
      ADD_FAILURE() << name << "[" << i << "]: expected " << expected[i] << ", got " << got[i] << ", tolerance "
                    << tolerance;
      if (++shown == 4) return;
    }
    EXPECT_TRUE(actual.gaps_untouched()) << name << ": wrote between its rows";
  }

  Context ctx{GetParam().device, GetParam().threads};

 private:
  std::mt19937_64 random_{20240607};
  std::vector<Buffer> int_buffers_;
};

#define VPREF_OP_TEST(name)                                                 \
  INSTANTIATE_TEST_SUITE_P(Variants, name, ::testing::ValuesIn(variants()), \
                           [](const auto& info) { return ::testing::PrintToString(info.param); })

// The slope of `loss` along each of x's elements by central differences.
template <class Loss>
Values finite_differences(Values x, Loss loss, double step = 1e-5) {
  Values slope(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + step;
    const double up = loss(x);
    x[i] = at - step;
    const double down = loss(x);
    x[i] = at;
    slope[i] = (up - down) / (2 * step);
  }
  return slope;
}

inline double inner(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline void expect_same(const char* name, const Values& analytic, const Values& numeric, double tolerance = 1e-6) {
  ASSERT_EQ(analytic.size(), numeric.size());
  for (size_t i = 0; i < analytic.size(); ++i)
    EXPECT_NEAR(analytic[i], numeric[i], tolerance * (1 + std::fabs(numeric[i]))) << name << "[" << i << "]";
}

}  // namespace vpref
