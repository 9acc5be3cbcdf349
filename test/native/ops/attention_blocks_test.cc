// SPDX-License-Identifier: Apache-2.0
// Causal spans whose last range begins before their own rows, at every offset to the kernels' key blocks: the first
// queries of such a span see nothing of a block that the last ones see.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "ops/attention.h"

namespace vpref {
namespace {

constexpr int kHeads = 2, kSize = 16;

struct Case {
  std::vector<float> q, k, v;
  AttentionPlan plan;
  int num_queries, num_rows;
};

// Query rows [0, num_queries) see rows [0, prefix) and the last `count` of `num_rows` rows, causally.
Case make_case(std::mt19937& gen, int num_queries, int count, int prefix, int num_rows) {
  std::normal_distribution<float> normal;
  Case c{.plan = {}, .num_queries = num_queries, .num_rows = num_rows};
  for (auto [values, rows] : {std::pair{&c.q, num_queries}, {&c.k, num_rows}, {&c.v, num_rows}}) {
    values->resize(size_t(rows) * kHeads * kSize);
    for (float& x : *values) x = normal(gen);
  }
  if (prefix > 0) c.plan.ranges.push_back({0, prefix});
  c.plan.ranges.push_back({num_rows - count, count});
  c.plan.spans.push_back({0, num_queries, 0, int32_t(c.plan.ranges.size()), true});
  return c;
}

double expected(const Case& c, int query, int head, int e) {
  std::vector<int> rows;
  for (size_t r = 0; r < c.plan.ranges.size(); ++r) {
    const KvRange& range = c.plan.ranges[r];
    const bool own = r + 1 == c.plan.ranges.size();
    const int seen = own ? range.count - c.num_queries + query + 1 : range.count;
    for (int i = 0; i < seen; ++i) rows.push_back(range.begin + i);
  }
  double sum = 0, out = 0;
  for (int row : rows) {
    double score = 0;
    for (int i = 0; i < kSize; ++i)
      score += 0.25 * double(c.q[(query * kHeads + head) * kSize + i]) * double(c.k[(row * kHeads + head) * kSize + i]);
    sum += std::exp(score);
    out += std::exp(score) * double(c.v[(row * kHeads + head) * kSize + e]);
  }
  return out / sum;
}

TEST(AttentionBlocks, SpansMayEndInsideABlock) {
  std::mt19937 gen(5);
  for (int trial = 0; trial < 300; ++trial) {
    const int num_queries = 1 + int(gen() % 120), count = num_queries + int(gen() % 240);
    const int num_rows = count + int(gen() % 40), prefix = trial % 2 ? 1 + int(gen() % unsigned(num_rows)) : 0;
    const Case c = make_case(gen, num_queries, count, prefix, num_rows);
    std::vector<float> out(c.q.size(), NAN);
    Context ctx(Device::cpu, 2);
    const auto tensor = [](const std::vector<float>& x, int rows) {
      return Tensor(const_cast<float*>(x.data()), DType::f32, {rows, kHeads, kSize});
    };
    attention(ctx, {tensor(c.q, num_queries), tensor(c.k, num_rows), tensor(c.v, num_rows)}, c.plan, 0.25f,
              {tensor(out, num_queries)});
    for (int query = 0; query < num_queries; ++query) {
      for (int head = 0; head < kHeads; ++head) {
        const int e = query % kSize;
        ASSERT_NEAR(out[(query * kHeads + head) * kSize + e], expected(c, query, head, e), 1e-5)
            << "queries " << num_queries << " count " << count << " prefix " << prefix << " query " << query;
      }
    }
  }
}

}  // namespace
}  // namespace vpref
