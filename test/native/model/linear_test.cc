// SPDX-License-Identifier: Apache-2.0
// Linears that read the same x: together they give what each gives alone.
#include "model/linear.h"

#include <gtest/gtest.h>

#include <random>

namespace vpref {
namespace {

constexpr int64_t kRows = 5, kInputs = 24, kOutputs[] = {16, 8, 8}, kRank = 4, kAll = 32;

class Memory {
 public:
  Tensor tensor(int64_t rows, int64_t cols) {
    const Tensor t = arena_.tensor(DType::f32, {rows, cols});
    for (int64_t i = 0; i < t.numel(); ++i) t.as<float>()[i] = normal_(random_);
    return t;
  }
  Tensor copy(const Tensor& t) {
    const Tensor c = arena_.tensor(DType::f32, {t.dim(0), t.dim(1)});
    std::copy_n(t.as<float>(), t.numel(), c.as<float>());
    return c;
  }
  Arena& arena() { return arena_; }

 private:
  Arena arena_{Device::cpu, size_t(1) << 20};
  std::mt19937 random_{1};
  std::normal_distribution<float> normal_;
};

// Row strides differ, so a product may sum in another order.
void expect_equal(const Tensor& a, const Tensor& b) {
  for (int64_t i = 0; i < a.dim(0); ++i)
    for (int64_t j = 0; j < a.dim(1); ++j) EXPECT_NEAR(a.as<float>()[i * a.stride[0] + j], b.as<float>()[i * b.stride[0] + j], 1e-4f) << i << " " << j;
}

TEST(Linear, PartsGiveWhatEachGivesAlone) {
  Context ctx(Device::cpu);
  Memory memory;
  Linear linears[3];
  LinearGrads grads[3], alone[3];
  for (int i = 0; i < 3; ++i) {
    const int64_t n = kOutputs[i];
    linears[i].weight = memory.tensor(n, kInputs);
    if (i == 1) linears[i].bias = memory.tensor(1, n).reshaped({n});
    linears[i].adapters.push_back({memory.tensor(kRank, kInputs), memory.tensor(n, kRank), 0.5f});
    grads[i].weight = memory.tensor(n, kInputs);
    grads[i].adapters.push_back({memory.tensor(kRank, kInputs), memory.tensor(n, kRank)});
    alone[i].weight = memory.copy(grads[i].weight);
    alone[i].adapters.push_back({memory.copy(grads[i].adapters[0].a), memory.copy(grads[i].adapters[0].b)});
  }
  linears[2].adapters.push_back({memory.tensor(kRank, kInputs), memory.tensor(kOutputs[2], kRank), 2.0f, /*enabled=*/false});
  const Tensor x = memory.tensor(kRows, kInputs), y = memory.tensor(kRows, kAll), h = memory.tensor(kRows, kRank), none;
  linear_forward(ctx, {{linears[0], none}, {linears[1], h}, {linears[2], none}}, x, y, memory.arena());

  const Tensor dy = memory.tensor(kRows, kAll), dx = memory.tensor(kRows, kInputs), expected_dx = memory.copy(dx);
  linear_backward(ctx, {{linears[0], none, &grads[0]}, {linears[1], h, &grads[1]}, {linears[2], none, &grads[2]}}, dy, x, &dx, 0.5f, memory.arena());
  int64_t column = 0;
  for (int i = 0; i < 3; ++i) {
    const int64_t n = kOutputs[i];
    const Tensor expected = memory.tensor(kRows, n);
    linear_forward(ctx, linears[i], x, expected, memory.arena());
    expect_equal(y.cols(column, n), expected);
    linear_backward(ctx, linears[i], dy.cols(column, n), x, none, &expected_dx, i == 0 ? 0.5f : 1.0f, alone[i], memory.arena());
    expect_equal(grads[i].weight, alone[i].weight);
    expect_equal(grads[i].adapters[0].a, alone[i].adapters[0].a);
    expect_equal(grads[i].adapters[0].b, alone[i].adapters[0].b);
    column += n;
  }
  expect_equal(dx, expected_dx);
}

TEST(Linear, WeightsAreStackedWhereTheyFollowEachOther) {
  Memory memory;
  const Context gpu(Device::cuda), cpu(Device::cpu);
  const Tensor all = memory.tensor(kAll, kInputs), none;
  Linear q{all.rows(0, 16)}, k{all.rows(16, 8)}, v{all.rows(24, 8)};
  const Tensor stacked = stacked_weight(gpu, {{q, none}, {k, none}, {v, none}});
  EXPECT_EQ(stacked.data, all.data);
  EXPECT_EQ(shape_string(stacked), shape_string(all));
  EXPECT_EQ(stacked_weight(gpu, {{k, none}, {v, none}}).data, k.weight.data);
  EXPECT_FALSE(stacked_weight(cpu, {{q, none}, {k, none}, {v, none}}));
  EXPECT_FALSE(stacked_weight(gpu, {{q, none}, {v, none}})) << "a gap";
  EXPECT_FALSE(stacked_weight(gpu, {{k, none}, {q, none}})) << "another order";
  k.bias = memory.tensor(1, 8).reshaped({8});
  EXPECT_FALSE(stacked_weight(gpu, {{q, none}, {k, none}, {v, none}})) << "a bias";
}

}  // namespace
}  // namespace vpref
