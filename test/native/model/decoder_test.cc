// SPDX-License-Identifier: Apache-2.0
// The loop over the layers: kept activations, wanted rows, added rows.
#include "model/decoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "model/load.h"

namespace vpref {
namespace {

constexpr int32_t kRows = 7;

// One causal segment of kRows rows through the tiny model.
struct Walk {
  Context ctx{Device::cpu};
  Model model{std::string(VPREF_FIXTURES) + "/tiny-mha", Device::cpu, DType::f32};
  Arena arena{Device::cpu, size_t(8) << 20};
  std::vector<int32_t> positions = std::vector<int32_t>(kRows);
  AttentionPlan plan{{{0, kRows, 0, 1, /*causal=*/true}}, {{0, kRows}}};
  DecoderCall call;

  Walk() {
    model.prepare(ctx);
    std::iota(positions.begin(), positions.end(), 0);
    std::vector<float>& f = model.config.text.inv_freq;
    call = {&model.config,
            {Tensor(positions.data(), DType::i32, {1, kRows}), Tensor(f.data(), DType::f32, {int64_t(f.size())}), {}},
            &plan};
  }
  int64_t width() const { return model.config.text.hidden_size; }
  Tensor input() {
    const Tensor x = arena.tensor(DType::f32, {kRows, width()});
    for (int64_t i = 0; i < x.numel(); ++i) x.as<float>()[i] = std::sin(float(i) * 0.37f);
    return x;
  }
  Tensor run(const DecoderSink& sink, int64_t num_rows = kRows) {
    const Tensor out = arena.tensor(DType::f32, {num_rows, width()});
    decoder_forward(ctx, model.weights, call, input(), out, sink, arena);
    return out;
  }
};

void expect_rows(const Tensor& got, int64_t row, const Tensor& want, int64_t want_row, float tolerance) {
  for (int64_t c = 0; c < want.dim(1); ++c)
    ASSERT_NEAR(got.rows(row, 1).as<float>()[c], want.rows(want_row, 1).as<float>()[c], tolerance)
        << "row " << row << ", column " << c;
}

TEST(Decoder, WantedRowsEqualThoseOfAFullPass) {
  Walk w;
  const Tensor whole = w.run({});
  std::vector<int32_t> rows = {1, 2, 5}, positions = rows;
  const AttentionPlan plan{{{0, 2, 0, 1, /*causal=*/true}, {2, 1, 1, 1, /*causal=*/true}}, {{0, 3}, {0, 6}}};
  const WantedRows wanted{Tensor(rows.data(), DType::i32, {3}), Tensor(positions.data(), DType::i32, {1, 3}), &plan};
  const Tensor some = w.run({.wanted = &wanted}, 3);
  // A product of fewer rows may sum in another order.
  for (size_t i = 0; i < rows.size(); ++i) expect_rows(some, int64_t(i), whole, rows[i], 1e-4f);
}

// Normalised heads give the same results if all rows are read, if a few are, or if activations are kept.
TEST(Decoder, HeadNormsAreAppliedInEveryKindOfPass) {
  Walk w;
  const Tensor plain = w.run({});
  std::vector<float> norm(size_t(w.model.config.text.head_dim));
  for (size_t i = 0; i < norm.size(); ++i) norm[i] = 1.2f + 0.5f * std::sin(float(i));
  for (DecoderLayer& l : w.model.weights.layers)
    l.q_norm = l.k_norm = Tensor(norm.data(), DType::f32, {int64_t(norm.size())});
  w.model.config.text.qk_norm = true;
  const Tensor whole = w.run({});
  EXPECT_GT(std::abs(whole.as<float>()[whole.numel() - 1] - plain.as<float>()[plain.numel() - 1]), 1e-4f);
  std::vector<int32_t> rows = {3}, positions = rows;
  const AttentionPlan plan{{{0, 1, 0, 1, /*causal=*/true}}, {{0, 4}}};
  const WantedRows wanted{Tensor(rows.data(), DType::i32, {1}), Tensor(positions.data(), DType::i32, {1, 1}), &plan};
  expect_rows(w.run({.wanted = &wanted}, 1), 0, whole, 3, 1e-4f);
  for (const RecomputeLevel level : {0, 1, 3}) {
    std::vector<LayerActivations> kept;
    const Tensor saved = w.run({.activations = &kept, .level = level});
    for (int64_t r = 0; r < kRows; ++r) expect_rows(saved, r, whole, r, 1e-5f);
  }
}

TEST(Decoder, KeepsTheInputOfEveryLayer) {
  Walk w;
  for (const RecomputeLevel level : {0, 3}) {
    w.arena.release(0);
    std::vector<LayerActivations> kept;
    w.run({.activations = &kept, .level = level});
    ASSERT_EQ(kept.size(), w.model.weights.layers.size());
    const Tensor x = w.input();
    for (int64_t r = 0; r < kRows; ++r) expect_rows(kept[0].residual, r, x, r, 0);
    EXPECT_EQ(bool(kept[1].qkv), level == 0);
  }
}

TEST(Decoder, AddsRowsAfterALayer) {
  Walk w;
  std::vector<LayerActivations> without, with;
  const Tensor plain = w.run({.activations = &without});
  const std::vector<int32_t> index = {4, 2};
  std::vector<float> values(size_t(2 * w.width()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::cos(float(i));
  const Tensor rows(values.data(), DType::f32, {2, w.width()});
  const AddedRows added[] = {{0, index[0], rows.rows(0, 1)}, {0, index[1], rows.rows(1, 1)}};
  const Tensor out = w.run({.activations = &with, .added = added});

  // The second layer reads the sum. The change of rows 2 and 4 reaches later rows, never earlier ones.
  const Tensor sum = w.arena.tensor(DType::f32, {kRows, w.width()});
  std::copy_n(without[1].residual.as<float>(), sum.numel(), sum.as<float>());
  for (const size_t i : {size_t(0), size_t(1)})
    for (int64_t c = 0; c < w.width(); ++c)
      sum.rows(index[i], 1).as<float>()[c] += values[i * size_t(w.width()) + size_t(c)];
  for (int64_t r = 0; r < kRows; ++r) expect_rows(with[1].residual, r, sum, r, 1e-6f);
  for (int64_t r = 0; r < 2; ++r) expect_rows(out, r, plain, r, 1e-6f);
  for (int64_t r = 2; r < kRows; ++r) {
    float difference = 0;
    for (int64_t c = 0; c < w.width(); ++c)
      difference = std::max(difference, std::abs(out.rows(r, 1).as<float>()[c] - plain.rows(r, 1).as<float>()[c]));
    EXPECT_GT(difference, 1e-3f) << "row " << r;
  }

  // Without activations the same rows are added.
  const Tensor alone = w.run({.added = added});
  for (int64_t r = 0; r < kRows; ++r) expect_rows(alone, r, out, r, 1e-6f);

  // After the last layer they are added to the rows that are read: to all rows, or to the wanted ones, in order.
  const size_t last = w.model.weights.layers.size() - 1;
  const AddedRows after_all[] = {{last, 4, rows.rows(0, 1)}}, after_wanted[] = {{last, 0, rows.rows(0, 1)}};
  const Tensor whole = w.run({.added = after_all});
  for (int64_t c = 0; c < w.width(); ++c)
    EXPECT_NEAR(whole.rows(4, 1).as<float>()[c], plain.rows(4, 1).as<float>()[c] + values[size_t(c)], 1e-5f);
  std::vector<int32_t> wanted_rows = {4};
  const AttentionPlan plan{{{0, 1, 0, 1, /*causal=*/true}}, {{0, 5}}};
  const WantedRows wanted{Tensor(wanted_rows.data(), DType::i32, {1}), Tensor(wanted_rows.data(), DType::i32, {1, 1}),
                          &plan};
  expect_rows(w.run({.added = after_wanted, .wanted = &wanted}, 1), 0, whole, 4, 1e-4f);
}

// Biases of every linear and norms of query and key heads: gradients against finite differences of the loss, at every
// recompute level.
TEST(Decoder, GradientsOfBiasesAndHeadNormsEqualFiniteDifferences) {
  Walk w;
  std::vector<std::vector<float>> memory;
  const auto vector = [&](int64_t n, float scale) {
    memory.emplace_back(size_t(n));
    for (int64_t i = 0; i < n; ++i) memory.back()[size_t(i)] = scale * std::sin(float(i + int64_t(memory.size())));
    return Tensor(memory.back().data(), DType::f32, {n});
  };
  std::vector<LayerGrads> grads(w.model.weights.layers.size());
  for (size_t l = 0; l < grads.size(); ++l) {
    for (size_t k = 0; k < kNumLinears; ++k) {
      Linear& linear = w.model.weights.layers[l].linears[k];
      linear.bias = vector(linear.weight.dim(0), 0.1f);
      grads[l].linears[k].weight =
          vector(linear.weight.numel(), 0).reshaped({linear.weight.dim(0), linear.weight.dim(1)});
      grads[l].linears[k].bias = vector(linear.weight.dim(0), 0);
    }
  }
  w.model.config.text.qk_norm = true;
  for (size_t l = 0; l < grads.size(); ++l) {
    for (Tensor* norm : {&w.model.weights.layers[l].q_norm, &w.model.weights.layers[l].k_norm}) {
      *norm = vector(w.model.config.text.head_dim, 0.3f);
      for (int64_t i = 0; i < norm->numel(); ++i) norm->as<float>()[i] += 1.5f;
    }
    for (Tensor* norm : {&grads[l].q_norm, &grads[l].k_norm}) *norm = vector(w.model.config.text.head_dim, 0);
  }
  const auto loss = [&] {  // sum of cos(i) out[i]
    w.arena.release(0);
    const Tensor out = w.run({});
    double sum = 0;
    for (int64_t i = 0; i < out.numel(); ++i) sum += std::cos(double(i)) * double(out.as<float>()[i]);
    return sum;
  };
  for (const RecomputeLevel level : {0, 1, 2, 3}) {
    for (LayerGrads& g : grads) {
      for (LinearGrads& l : g.linears) std::fill_n(l.bias.as<float>(), l.bias.numel(), 0.0f);
      for (Tensor* norm : {&g.q_norm, &g.k_norm}) std::fill_n(norm->as<float>(), norm->numel(), 0.0f);
    }
    w.arena.release(0);
    std::vector<LayerActivations> kept;
    w.run({.activations = &kept, .level = level});
    const Tensor dx = w.arena.tensor(DType::f32, {kRows, w.width()});
    for (int64_t i = 0; i < dx.numel(); ++i) dx.as<float>()[i] = float(std::cos(double(i)));
    decoder_backward(w.ctx, w.model.weights, w.call, {kept, grads, /*need_dx=*/false, {}, {}}, dx, w.arena);
    for (size_t l = 0; l < grads.size(); ++l) {
      const auto check = [&](const Tensor& parameter, const Tensor& gradient, const char* name) {
        float& value = parameter.as<float>()[3];
        const float before = value, step = 1e-2f;
        value = before + step;
        const double above = loss();
        value = before - step;
        const double difference = (above - loss()) / (2 * double(step));
        value = before;
        EXPECT_NEAR(double(gradient.as<float>()[3]), difference, 2e-3 + 1e-2 * std::abs(difference))
            << "level " << level << ", layer " << l << ", " << name;
      };
      DecoderLayer& layer = w.model.weights.layers[l];
      for (size_t k = 0; k < kNumLinears; ++k) check(layer.linears[k].bias, grads[l].linears[k].bias, kLinears[k].name);
      check(layer.q_norm, grads[l].q_norm, "q_norm");
      check(layer.k_norm, grads[l].k_norm, "k_norm");
    }
  }
}

}  // namespace
}  // namespace vpref
