// SPDX-License-Identifier: Apache-2.0
// How far from the exact result attention may be, element by element, from what it rounds: not tuned, and exact up to
// the f32 sums' share.
//
// Storage rounds to nearest, with an error of at most u of the value (2^-8 for bf16, 2^-24 for f32). On the GPU in bf16
// the factors of the tensor cores' products are bf16 and the sums f32, so P is rounded before P V and P^T dO, and dS
// before dS K and dS^T Q, u each. delta = rowsum(dO O) is taken of the stored, rounded O: off by at most e_i = u sum_c
// |dO_ic O_ic|, and dS_ij by P_ij e_i. With f = 8 (d + rows) 2^-24 for all f32 arithmetic (sums of d and of `rows`
// terms, and the exponent of a score that is itself such a sum):
//   out_i   (u + f) sum_j P_ij |v_j| + u |out_i|
//   dv_j    (u + f) sum_i P_ij |dO_i| + u |dv_j|
//   dS_ij   u |dS_ij| + P_ij e_i + f P_ij (|dO_i| |v_j| + |dO_i| |O_i|) =: r_ij
//   dq_i    scale sum_j r_ij |k_j| + u |dq_i|,   dk_j   scale sum_i r_ij |q_i| + u |dk_j|
#pragma once
#include <cmath>

#include "ops/attention.h"
#include "ops/variant.h"

namespace vpref {

struct AttentionBounds {
  Values out, lse, dq, dk, dv;
};

struct AttentionOperands {
  const Values &q, &k, &v, &dout;  // dout may be empty: no bounds of gradients
  const AttentionPlan& plan;
  int64_t heads, kv_heads, d;
  double scale;
};

struct AttentionRounding {
  double storage, probability, arithmetic;  // u of storage, u of P and dS, f
};

inline AttentionRounding attention_rounding(Device device, DType dtype, int64_t d, int64_t rows) {
  const double u = unit_roundoff(dtype);
  return {u, device == Device::cuda && dtype == DType::bf16 ? u : 0.0, 8.0 * double(d + rows) * 0x1p-24};
}

namespace bounds {

inline double dot(const double* a, const double* b, int64_t d) {
  double sum = 0;
  for (int64_t c = 0; c < d; ++c) sum += a[c] * b[c];
  return sum;
}
inline double dot_of_sizes(const double* a, const double* b, int64_t d) {
  double sum = 0;
  for (int64_t c = 0; c < d; ++c) sum += std::fabs(a[c] * b[c]);
  return sum;
}
inline void add_sizes(double* to, double factor, const double* x, int64_t d) {
  for (int64_t c = 0; c < d; ++c) to[c] += factor * std::fabs(x[c]);
}

// Adds the bounds of one query row and head; `keys` are the rows that it sees.
inline void add_row(const AttentionOperands& a, const AttentionRounding& r, int64_t row, int64_t head,
                    const std::vector<int64_t>& keys, AttentionBounds& b) {
  const int64_t d = a.d, at = (row * a.heads + head) * d, kv_head = head / (a.heads / a.kv_heads);
  const auto key_at = [&](size_t j) { return (keys[j] * a.kv_heads + kv_head) * d; };
  Values p(keys.size()), out(static_cast<size_t>(d));
  double largest = -INFINITY, sum = 0, sizes = 0;
  for (size_t j = 0; j < keys.size(); ++j) {
    p[j] = a.scale * dot(&a.q[size_t(at)], &a.k[size_t(key_at(j))], d);
    largest = std::max(largest, p[j]);
    sizes = std::max(sizes, a.scale * dot_of_sizes(&a.q[size_t(at)], &a.k[size_t(key_at(j))], d));
  }
  for (double& x : p) sum += x = std::exp(x - largest);
  for (size_t j = 0; j < keys.size(); ++j) {
    p[j] /= sum;
    for (int64_t c = 0; c < d; ++c) out[size_t(c)] += p[j] * a.v[size_t(key_at(j) + c)];
    add_sizes(&b.out[size_t(at)], (r.probability + r.arithmetic) * p[j], &a.v[size_t(key_at(j))], d);
  }
  add_sizes(&b.out[size_t(at)], r.storage, out.data(), d);
  b.lse[size_t(row * a.heads + head)] = r.arithmetic * (1 + sizes);
  if (a.dout.empty()) return;
  const double* dout = &a.dout[size_t(at)];
  const double delta = dot(dout, out.data(), d), delta_size = dot_of_sizes(dout, out.data(), d);
  for (size_t j = 0; j < keys.size(); ++j) {
    const size_t key = size_t(key_at(j));
    const double ds = p[j] * (dot(dout, &a.v[key], d) - delta),
                 ds_size = p[j] * (dot_of_sizes(dout, &a.v[key], d) + delta_size);
    const double error =
        a.scale * (r.probability * std::fabs(ds) + r.storage * p[j] * delta_size + r.arithmetic * ds_size);
    add_sizes(&b.dq[size_t(at)], error, &a.k[key], d);
    add_sizes(&b.dk[key], error, &a.q[size_t(at)], d);
    add_sizes(&b.dv[key], (r.probability + r.arithmetic) * p[j], dout, d);
  }
}

}  // namespace bounds

// The bounds of gradients, without the rounding of the result, which expect_within adds.
inline AttentionBounds attention_bounds(const AttentionOperands& a, const AttentionRounding& r) {
  AttentionBounds b{Values(a.q.size()), Values(a.q.size() / size_t(a.d)), Values(a.q.size()), Values(a.k.size()),
                    Values(a.v.size())};
  for (const AttentionSpan& s : a.plan.spans)
    for (int i = 0; i < s.q_count; ++i) {
      std::vector<int64_t> keys;
      for (int n = 0; n < s.num_ranges; ++n) {
        const KvRange& range = a.plan.ranges[size_t(s.first_range + n)];
        const int seen = s.causal && n + 1 == s.num_ranges ? range.count - s.q_count + i + 1 : range.count;
        for (int j = 0; j < seen; ++j) keys.push_back(range.begin + j);
      }
      if (a.plan.window > 0 && int64_t(keys.size()) > a.plan.window)
        keys.erase(keys.begin(), keys.end() - a.plan.window);
      for (int64_t head = 0; head < a.heads; ++head) bounds::add_row(a, r, s.q_begin + i, head, keys, b);
    }
  return b;
}

inline void expect_within(const char* name, Operand& actual, const Values& expected, const Values& bound,
                          double rounding = 0) {
  const Values got = actual.read();
  ASSERT_EQ(got.size(), expected.size()) << name;
  int shown = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double tolerance = bound[i] + rounding * (std::fabs(expected[i]) + bound[i]) + 1e-30;
    if (std::fabs(got[i] - expected[i]) <= tolerance) continue;
    ADD_FAILURE() << name << "[" << i << "]: expected " << expected[i] << ", got " << got[i] << ", bound " << tolerance;
    if (++shown == 4) return;
  }
  EXPECT_TRUE(actual.gaps_untouched()) << name << ": wrote between its rows";
}

}  // namespace vpref
