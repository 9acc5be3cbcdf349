// SPDX-License-Identifier: Apache-2.0
#include "ops/sample_token.h"

#include <algorithm>
#include <numeric>

#include "core/philox.h"
#include "ops/variant.h"
#include "reference/reference.h"

namespace vpref {
namespace {

class SampleTokenTest : public OpTest {
 protected:
  Tensor placed(const std::vector<SampleParams>& params) {
    return index(sample_words(params)).reshaped({int64_t(params.size()), kSampleWords});
  }
};
VPREF_OP_TEST(SampleTokenTest);

// The rule of the contract in float64: sort, cut by top-k, cut by top-p, then follow the cumulative sum.
int32_t reference_draw(const Values& logits, const SampleParams& p) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits[size_t(a)] > logits[size_t(b)]; });
  if (p.temperature == 0) return order[0];
  if (p.top_k > 0 && size_t(p.top_k) < order.size()) order.resize(size_t(p.top_k));
  Values weight;
  for (int32_t i : order)
    weight.push_back(std::exp((logits[size_t(i)] - logits[size_t(order[0])]) / double(p.temperature)));
  double total = std::accumulate(weight.begin(), weight.end(), 0.0), sum = 0;
  if (p.top_p < 1) {
    size_t kept = 0;
    for (; kept < weight.size() && (kept == 0 || sum < double(p.top_p) * total); ++kept) sum += weight[kept];
    weight.resize(kept);
    total = sum;
  }
  const auto words = philox4x32(p.seed, {p.position, p.branch, uint32_t(p.rng_key), uint32_t(p.rng_key >> 32)});
  const double goal = (double(words[0]) + 0.5) * 0x1p-32 * total;
  sum = 0;
  for (size_t i = 0; i < weight.size(); ++i)
    if ((sum += weight[i]) > goal) return order[i];
  return order[weight.size() - 1];
}

TEST_P(SampleTokenTest, SamplesByTheRule) {
  for (const int64_t v : {1, 3, 70, 2000}) {
    const std::vector<SampleParams> kinds = {{},
                                             {.temperature = 1.0f},
                                             {.temperature = 0.7f, .top_p = 0.9f},
                                             {.temperature = 1.3f, .top_k = 5},
                                             {.temperature = 1.0f, .top_p = 0.5f, .top_k = 40},
                                             {.temperature = 2.0f, .top_p = 1e-6f}};
    std::vector<SampleParams> params;
    for (uint32_t i = 0; i < 60; ++i) {
      params.push_back(kinds[i % kinds.size()]);
      params.back().seed = 42 + i / 20;
      params.back().rng_key = 0x123456789abcdefull * (i + 1);
      params.back().branch = i % 4;
      params.back().position = i;
    }
    const int64_t r = int64_t(params.size());
    Operand logits = operand({r, v}, normal(r * v, 2), 1), logp = operand(DType::f32, {r}, Values(size_t(r)));
    const Tensor token = index(std::vector<int32_t>(size_t(r), -1));
    sample_token(ctx, logits.view(), placed(params), token, logp.view());
    const std::vector<int32_t> got = read_ints(token);
    const Values all = reference::log_softmax(logits.values(), r, v);
    Values expected;
    for (int64_t i = 0; i < r; ++i) {
      const Values row(logits.values().begin() + i * v, logits.values().begin() + (i + 1) * v);
      EXPECT_EQ(got[size_t(i)], reference_draw(row, params[size_t(i)])) << "row " << i << " of " << v << " tokens";
      expected.push_back(all[size_t(i * v + got[size_t(i)])]);
    }
    expect_close("logp", logp, expected);
  }
}

TEST_P(SampleTokenTest, GreedyTakesTheLowestIdAmongEquals) {
  Values flat(50, 1.0);
  flat[20] = flat[7] = flat[33] = 2.0;
  Operand logits = operand({1, 50}, flat), logp = operand(DType::f32, {1}, {0});
  const Tensor token = index({-1});
  sample_token(ctx, logits.view(), placed({SampleParams{}}), token, logp.view());
  EXPECT_EQ(read_ints(token)[0], 7);
}

TEST_P(SampleTokenTest, FrequenciesFollowTheProbabilities) {
  const int64_t r = 4000;
  Values rows;
  std::vector<SampleParams> params;
  for (int64_t i = 0; i < r; ++i) {
    for (double p : {0.5, 0.25, 0.15, 0.1}) rows.push_back(std::log(p));
    params.push_back({.temperature = 1.0f, .seed = 7, .rng_key = 99, .position = uint32_t(i)});
  }
  Operand logits = operand(DType::f32, {r, 4}, rows), logp = operand(DType::f32, {r}, Values(size_t(r)));
  const Tensor token = index(std::vector<int32_t>(size_t(r), -1));
  sample_token(ctx, logits.view(), placed(params), token, logp.view());
  std::vector<double> count(4);
  for (int32_t id : read_ints(token)) count[size_t(id)] += 1.0 / double(r);
  const double expected[] = {0.5, 0.25, 0.15, 0.1};
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(count[i], expected[i], 4 * std::sqrt(expected[i] * (1 - expected[i]) / double(r)));
}

TEST_P(SampleTokenTest, LogitsThatAreNotFiniteAreAnError) {
  for (double broken : {double(NAN), double(INFINITY)}) {
    Values row(40, 1.0);
    row[9] = broken;
    Operand logits = operand({1, 40}, row), logp = operand(DType::f32, {1}, {0});
    const Tensor token = index({7});
    if (ctx.device == Device::cpu) {
      EXPECT_THROW(sample_token(ctx, logits.view(), placed({SampleParams{.temperature = 1.0f}}), token, logp.view()),
                   Error);
    } else {
      sample_token(ctx, logits.view(), placed({SampleParams{.temperature = 1.0f}}), token, logp.view());
      EXPECT_EQ(read_ints(token)[0], -1);
      EXPECT_TRUE(std::isnan(logp.read()[0]));
    }
  }
  Operand logits = operand({1, 4}, Values(4)), logp = operand(DType::f32, {1}, {0});
  EXPECT_THROW(sample_token(ctx, logits.view(), placed({SampleParams{.top_p = 0.0f}}), index({-1}), logp.view()),
               Error);
}

}  // namespace
}  // namespace vpref
