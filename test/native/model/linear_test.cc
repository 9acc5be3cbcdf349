// SPDX-License-Identifier: Apache-2.0
// Linears that read the same x give the same results together and alone.
#include "model/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ops/dropout.h"
#include "ops/elementwise.h"

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
    for (int64_t j = 0; j < a.dim(1); ++j)
      EXPECT_NEAR(a.as<float>()[i * a.stride[0] + j], b.as<float>()[i * b.stride[0] + j], 1e-4f) << i << " " << j;
}

TEST(Linear, AdjacentLinearsEqualEachAlone) {
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
  linears[2].adapters.push_back(
      {memory.tensor(kRank, kInputs), memory.tensor(kOutputs[2], kRank), 2.0f, /*enabled=*/false});
  const Tensor x = memory.tensor(kRows, kInputs), y = memory.tensor(kRows, kAll);
  const Tensor h[3] = {{}, memory.tensor(kRows, kRank), {}};
  linear_forward(ctx, linears, x, y, memory.arena(), h);

  const Tensor dy = memory.tensor(kRows, kAll), dx = memory.tensor(kRows, kInputs);
  linear_backward(ctx, linears, dy, {x, h}, &dx, grads, memory.arena());
  const Tensor expected_dx = memory.tensor(kRows, kInputs);
  int64_t column = 0;
  for (int i = 0; i < 3; ++i) {
    const int64_t n = kOutputs[i];
    const Tensor expected = memory.tensor(kRows, n);
    linear_forward(ctx, linears[i], x, expected, memory.arena());
    expect_equal(y.cols(column, n), expected);
    const Tensor own_dx = memory.tensor(kRows, kInputs);
    linear_backward(ctx, linears[i], dy.cols(column, n), x, &own_dx, alone[i], memory.arena());
    if (i == 0)
      convert(ctx, own_dx, expected_dx);
    else
      add(ctx, own_dx, expected_dx);
    expect_equal(grads[i].weight, alone[i].weight);
    expect_equal(grads[i].adapters[0].a, alone[i].adapters[0].a);
    expect_equal(grads[i].adapters[0].b, alone[i].adapters[0].b);
    column += n;
  }
  expect_equal(dx, expected_dx);
}

// A packed linear, and the unpacked one with the same weights.
struct PackedPair {
  Linear packed, dense;
  std::vector<float> values;
  Buffer memory;
};

PackedPair packed_pair(Memory& memory, Packing packing, int64_t n) {
  const Tensor from = memory.tensor(n, kInputs);
  PackedPair p;
  p.memory = Buffer(Device::cpu, packed_bytes(packing, n, kInputs));
  p.packed.packed = packed_layout(packing, n, kInputs, p.memory.data());
  const int64_t units = packing_units(p.packed.packed);
  std::vector<float> absmax(static_cast<size_t>(units));
  pack_units(from, 0, units, p.packed.packed, absmax.data());
  pack_scales(absmax.data(), p.packed.packed);
  p.values.resize(size_t(n * kInputs));
  for (int64_t i = 0; i < n; ++i) unpack_row(p.packed.packed, i, 0, kInputs, p.values.data() + i * kInputs);
  p.dense.weight = Tensor(p.values.data(), DType::f32, {n, kInputs});
  for (Linear* l : {&p.packed, &p.dense})
    l->adapters.push_back({memory.tensor(kRank, kInputs), memory.tensor(n, kRank), 0.5f});
  p.packed.adapters = p.dense.adapters;
  return p;
}

// Packed weights give the results of the unpacked ones, forward and backward; only adapters have gradients.
TEST(Linear, PackedWeightsGiveTheProductOfTheUnpackedOnes) {
  for (const Packing packing : {Packing::nf4, Packing::int8}) {
    Context ctx(Device::cpu, 2);
    Memory memory;
    Linear packed[3], dense[3];
    LinearGrads grads[3], expected_grads[3];
    std::vector<PackedPair> pairs;
    for (int i = 0; i < 3; ++i) {
      pairs.push_back(packed_pair(memory, packing, kOutputs[i]));
      packed[i] = pairs.back().packed;
      dense[i] = pairs.back().dense;
      EXPECT_EQ(packed[i].outputs(), kOutputs[i]);
      EXPECT_EQ(packed[i].inputs(), kInputs);
      for (LinearGrads* g : {&grads[i], &expected_grads[i]}) {
        g->adapters.push_back({memory.tensor(kRank, kInputs), memory.tensor(kOutputs[i], kRank)});
        std::fill_n(g->adapters[0].a.as<float>(), kRank * kInputs, 0.0f);
        std::fill_n(g->adapters[0].b.as<float>(), kOutputs[i] * kRank, 0.0f);
      }
    }
    const Tensor x = memory.tensor(kRows, kInputs), y = memory.tensor(kRows, kAll), expected = memory.copy(y);
    linear_forward(ctx, packed, x, y, memory.arena());
    linear_forward(ctx, dense, x, expected, memory.arena());
    for (int64_t i = 0; i < y.numel(); ++i)
      EXPECT_NEAR(y.as<float>()[i], expected.as<float>()[i], 2e-6 * (1 + std::fabs(expected.as<float>()[i])));

    const Tensor dy = memory.tensor(kRows, kAll), dx = memory.tensor(kRows, kInputs), expected_dx = memory.copy(dx);
    linear_backward(ctx, packed, dy, LinearForward{x}, &dx, grads, memory.arena());
    linear_backward(ctx, dense, dy, LinearForward{x}, &expected_dx, expected_grads, memory.arena());
    expect_equal(dx, expected_dx);
    for (int i = 0; i < 3; ++i) {
      expect_equal(grads[i].adapters[0].a, expected_grads[i].adapters[0].a);
      expect_equal(grads[i].adapters[0].b, expected_grads[i].adapters[0].b);
    }
    // Tiles that the backward unpacks are in the memory plan, and are released afterwards.
    const size_t used = memory.arena().used();
    size_t bytes = 0;
    {
      const Measure measure(ctx, memory.arena());
      linear_backward(ctx, packed, dy, LinearForward{x}, &dx, grads, memory.arena());
      bytes = measure.bytes();
    }
    EXPECT_GE(bytes, size_t(kOutputs[0] * kInputs) * sizeof(float));
    EXPECT_EQ(memory.arena().used(), used);
  }
}

// As in peft: base(x) + scale B(A(dropout(x))), each pair with its own mask, forward and backward.
TEST(Linear, DropoutAppliesToTheInputOfAdapters) {
  Context ctx(Device::cpu);
  Memory memory;
  LoraDropout dropped{0.4f, 9, memory.arena().tensor(DType::i32, {kRows, 2})};
  for (int64_t i = 0; i < 2 * kRows; ++i) dropped.rows.as<int32_t>()[i] = int32_t(i * 77);
  const int64_t n = kOutputs[0];
  Linear base{memory.tensor(n, kInputs), {}, {}}, zero{memory.tensor(n, kInputs), {}, {}};
  std::fill_n(zero.weight.as<float>(), zero.weight.numel(), 0.0f);
  Linear all = base;
  const Tensor x = memory.tensor(kRows, kInputs), y = memory.tensor(kRows, n), dy = memory.tensor(kRows, n),
               dx = memory.tensor(kRows, kInputs), want = memory.tensor(kRows, n),
               want_dx = memory.tensor(kRows, kInputs), part = memory.tensor(kRows, n),
               part_dx = memory.tensor(kRows, kInputs), kept = memory.tensor(kRows, kInputs);
  linear_forward(ctx, base, x, want, memory.arena());
  linear_backward(ctx, base, dy, x, &want_dx, {}, memory.arena());
  LinearGrads grads, alone[2];
  for (uint32_t place : {4u, 5u}) {
    LoraPair pair{memory.tensor(kRank, kInputs), memory.tensor(n, kRank), 0.5f};
    const Tensor da = memory.tensor(kRank, kInputs), db = memory.tensor(n, kRank);
    grads.adapters.push_back({da, db});
    alone[place - 4].adapters.push_back({memory.copy(da), memory.copy(db)});
    zero.adapters = {pair};
    const DropoutMask mask{dropped.p, dropped.seed, place};
    dropout(ctx, x, dropped.rows, mask, kept);
    linear_forward(ctx, zero, kept, part, memory.arena());
    add(ctx, part, want);
    linear_backward(ctx, zero, dy, kept, &part_dx, alone[place - 4], memory.arena());
    dropout(ctx, part_dx, dropped.rows, mask, want_dx, /*accumulate=*/true);
    pair.dropout = &dropped;
    pair.place = place;
    all.adapters.push_back(pair);
  }
  for (const Tensor& saved : {Tensor(), memory.tensor(kRows, 2 * kRank)}) {
    LinearGrads own;
    for (const LinearGrads::Lora& g : grads.adapters) own.adapters.push_back({memory.copy(g.a), memory.copy(g.b)});
    linear_forward(ctx, std::span(&all, 1), x, y, memory.arena(), std::span(&saved, 1));
    expect_equal(y, want);
    linear_backward(ctx, std::span(&all, 1), dy, {x, std::span(&saved, 1)}, &dx, std::span(&own, 1), memory.arena());
    expect_equal(dx, want_dx);
    for (size_t i = 0; i < 2; ++i) {
      expect_equal(own.adapters[i].a, alone[i].adapters[0].a);
      expect_equal(own.adapters[i].b, alone[i].adapters[0].b);
    }
  }
}

TEST(Linear, LinearsAdjacentInMemoryAreStacked) {
  Memory memory;
  const Context gpu(Device::cuda), cpu(Device::cpu);
  const Tensor all = memory.tensor(kAll, kInputs), biases = memory.tensor(1, kAll).reshaped({kAll});
  const Linear q{all.rows(0, 16)}, k{all.rows(16, 8)}, v{all.rows(24, 8)};
  const auto as_one = [&](const Context& ctx, std::vector<Linear> linears) { return stacked(ctx, linears); };
  EXPECT_EQ(as_one(gpu, {q, k, v}).weight.data, all.data);
  EXPECT_EQ(cat(as_one(gpu, {q, k, v}).weight), cat(all));
  EXPECT_FALSE(as_one(gpu, {q, k, v}).bias);
  EXPECT_EQ(as_one(gpu, {k, v}).weight.data, k.weight.data);
  EXPECT_FALSE(as_one(cpu, {q, k, v}).weight);
  EXPECT_FALSE(as_one(gpu, {q, v}).weight) << "a gap";
  EXPECT_FALSE(as_one(gpu, {k, q}).weight) << "another order";

  const Linear q_bias{q.weight, biases.rows(0, 16)}, k_bias{k.weight, biases.rows(16, 8)},
      v_bias{v.weight, biases.rows(24, 8)};
  EXPECT_EQ(as_one(gpu, {q_bias, k_bias, v_bias}).weight.data, all.data);
  EXPECT_EQ(as_one(gpu, {q_bias, k_bias, v_bias}).bias.data, biases.data);
  EXPECT_EQ(cat(as_one(gpu, {q_bias, k_bias, v_bias}).bias), cat(biases));
  EXPECT_FALSE(as_one(gpu, {q_bias, k, v_bias}).weight) << "one without a bias";
  EXPECT_FALSE(as_one(gpu, {q, k_bias}).weight) << "one with a bias";
  EXPECT_FALSE(as_one(gpu, {q_bias, {k.weight, biases.rows(20, 8)}}).weight) << "a gap between biases";
}

}  // namespace
}  // namespace vpref
