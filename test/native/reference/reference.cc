// SPDX-License-Identifier: Apache-2.0
#include "reference/reference.h"

#include <algorithm>
#include <cmath>

namespace vpref::reference {

Values gemm(const Values& a, bool transpose_a, const Values& b, bool transpose_b, const Values& c, int64_t m, int64_t n,
            int64_t k, double alpha, double beta) {
  Values out(size_t(m * n));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < k; ++p)
        sum += a[size_t(transpose_a ? p * m + i : i * k + p)] * b[size_t(transpose_b ? j * k + p : p * n + j)];
      out[size_t(i * n + j)] = alpha * sum + (beta == 0 ? 0.0 : beta * c[size_t(i * n + j)]);
    }
  return out;
}

Values rms_norm(const Values& x, const Values& weight, int64_t t, int64_t d, double eps) {
  Values y(x.size());
  for (int64_t i = 0; i < t; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < d; ++j) sum += x[size_t(i * d + j)] * x[size_t(i * d + j)];
    const double r = 1 / std::sqrt(sum / double(d) + eps);
    for (int64_t j = 0; j < d; ++j) y[size_t(i * d + j)] = x[size_t(i * d + j)] * r * weight[size_t(j)];
  }
  return y;
}

NormGradients rms_norm_backward(const Values& dy, const Values& x, const Values& weight, int64_t t, int64_t d,
                                double eps) {
  NormGradients g{Values(x.size()), Values(size_t(d)), {}};
  for (int64_t i = 0; i < t; ++i) {
    const double *row = &x[size_t(i * d)], *dr = &dy[size_t(i * d)];
    double sum = 0, dot = 0;
    for (int64_t j = 0; j < d; ++j) sum += row[j] * row[j];
    const double r = 1 / std::sqrt(sum / double(d) + eps);
    for (int64_t j = 0; j < d; ++j) dot += dr[j] * weight[size_t(j)] * row[j] * r;
    for (int64_t j = 0; j < d; ++j) {
      g.dx[size_t(i * d + j)] = r * (dr[j] * weight[size_t(j)] - row[j] * r * dot / double(d));
      g.dweight[size_t(j)] += dr[j] * row[j] * r;
    }
  }
  return g;
}

namespace {

struct Moments {
  double mean, r;
};
Moments moments(const double* row, int64_t d, double eps) {
  double mean = 0, variance = 0;
  for (int64_t j = 0; j < d; ++j) mean += row[j] / double(d);
  for (int64_t j = 0; j < d; ++j) variance += (row[j] - mean) * (row[j] - mean) / double(d);
  return {mean, 1 / std::sqrt(variance + eps)};
}

}  // namespace

Values layer_norm(const Values& x, const Values& weight, const Values& bias, int64_t t, int64_t d, double eps) {
  Values y(x.size());
  for (int64_t i = 0; i < t; ++i) {
    const Moments m = moments(&x[size_t(i * d)], d, eps);
    for (int64_t j = 0; j < d; ++j)
      y[size_t(i * d + j)] = (x[size_t(i * d + j)] - m.mean) * m.r * weight[size_t(j)] + bias[size_t(j)];
  }
  return y;
}

NormGradients layer_norm_backward(const Values& dy, const Values& x, const Values& weight, int64_t t, int64_t d,
                                  double eps) {
  NormGradients g{Values(x.size()), Values(size_t(d)), Values(size_t(d))};
  for (int64_t i = 0; i < t; ++i) {
    const double *row = &x[size_t(i * d)], *dr = &dy[size_t(i * d)];
    const Moments m = moments(row, d, eps);
    double mean = 0, dot = 0;
    for (int64_t j = 0; j < d; ++j) {
      mean += dr[j] * weight[size_t(j)] / double(d);
      dot += dr[j] * weight[size_t(j)] * (row[j] - m.mean) * m.r / double(d);
    }
    for (int64_t j = 0; j < d; ++j) {
      const double normal = (row[j] - m.mean) * m.r;
      g.dx[size_t(i * d + j)] = m.r * (dr[j] * weight[size_t(j)] - mean - normal * dot);
      g.dweight[size_t(j)] += dr[j] * normal;
      g.dbias[size_t(j)] += dr[j];
    }
  }
  return g;
}

Values rope(const Values& x, const Rotation& rotation, int64_t heads, int64_t d, bool inverse) {
  Values y = x;
  const int64_t rows = int64_t(x.size()) / (heads * d);
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < d / 2; ++i) {
        const int64_t axis = rotation.axis.empty() ? 0 : rotation.axis[size_t(i)];
        // The angle is an f32 product by contract.
        const float position = float(rotation.positions[size_t(axis * rows + t)]);
        const double angle = double(position * float(rotation.inv_freq[size_t(i)])) * (inverse ? -1 : 1);
        double* head = &y[size_t(t * heads * d + h * d)];
        const double a = head[i], b = head[i + d / 2];
        head[i] = a * std::cos(angle) - b * std::sin(angle);
        head[i + d / 2] = b * std::cos(angle) + a * std::sin(angle);
      }
  return y;
}

Values swiglu(const Values& gate, const Values& up) {
  Values y(gate.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  return y;
}

SwigluGradients swiglu_backward(const Values& dy, const Values& gate, const Values& up) {
  SwigluGradients g{Values(gate.size()), Values(gate.size())};
  for (size_t i = 0; i < gate.size(); ++i) {
    const double s = 1 / (1 + std::exp(-gate[i]));
    g.dup[i] = dy[i] * gate[i] * s;
    g.dgate[i] = dy[i] * up[i] * (s + gate[i] * s * (1 - s));
  }
  return g;
}

double gelu(Gelu kind, double x) {
  if (kind == Gelu::exact) return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  if (kind == Gelu::quick) return x / (1 + std::exp(-1.702 * x));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

double gelu_slope(Gelu kind, double x) {
  if (kind == Gelu::exact) return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
  if (kind == Gelu::quick) {
    const double s = 1 / (1 + std::exp(-1.702 * x));
    return s + 1.702 * x * s * (1 - s);
  }
  const double c = std::sqrt(2 / M_PI), th = std::tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + th) + 0.5 * x * (1 - th * th) * c * (1 + 3 * 0.044715 * x * x);
}

namespace {

// The key/value rows that a query row sees.
std::vector<int64_t> seen_rows(const AttentionPlan& plan, const AttentionSpan& s, int64_t i) {
  std::vector<int64_t> rows;
  for (int r = 0; r < s.num_ranges; ++r) {
    const KvRange& range = plan.ranges[size_t(s.first_range + r)];
    const bool causal = s.causal && r == s.num_ranges - 1;
    const int64_t count = causal ? range.count - s.q_count + i + 1 : range.count;
    for (int64_t j = 0; j < count; ++j) rows.push_back(range.begin + j);
  }
  if (plan.window > 0 && int64_t(rows.size()) > plan.window) rows.erase(rows.begin(), rows.end() - plan.window);
  return rows;
}

// body(query row, head, its visible rows, their probabilities, log-sum-exp).
template <class Body>
void for_queries(const Values& q, const Values& k, const AttentionPlan& plan, int64_t heads, int64_t kv_heads,
                 int64_t d, double scale, Body body) {
  for (const AttentionSpan& s : plan.spans)
    for (int64_t i = 0; i < s.q_count; ++i) {
      const std::vector<int64_t> rows = seen_rows(plan, s, i);
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t t = s.q_begin + i, kv = h / (heads / kv_heads);
        Values p(rows.size());
        double max = -INFINITY, sum = 0;
        for (size_t j = 0; j < rows.size(); ++j) {
          for (int64_t e = 0; e < d; ++e)
            p[j] += scale * q[size_t((t * heads + h) * d + e)] * k[size_t((rows[j] * kv_heads + kv) * d + e)];
          max = std::max(max, p[j]);
        }
        for (double& v : p) sum += v = std::exp(v - max);
        for (double& v : p) v /= sum;
        body(t, h, kv, rows, p, max + std::log(sum));
      }
    }
}

}  // namespace

Attention attention(const Values& q, const Values& k, const Values& v, const AttentionPlan& plan, int64_t heads,
                    int64_t kv_heads, int64_t d, double scale) {
  Attention a{Values(q.size()), Values(q.size() / size_t(d))};
  for_queries(q, k, plan, heads, kv_heads, d, scale,
              [&](int64_t t, int64_t h, int64_t kv, const auto& rows, const Values& p, double lse) {
                a.lse[size_t(t * heads + h)] = lse;
                for (size_t j = 0; j < rows.size(); ++j)
                  for (int64_t e = 0; e < d; ++e)
                    a.out[size_t((t * heads + h) * d + e)] += p[j] * v[size_t((rows[j] * kv_heads + kv) * d + e)];
              });
  return a;
}

AttentionGradients attention_backward(const Values& dout, const Values& q, const Values& k, const Values& v,
                                      const AttentionPlan& plan, int64_t heads, int64_t kv_heads, int64_t d,
                                      double scale) {
  AttentionGradients g{Values(q.size()), Values(k.size()), Values(v.size())};
  for_queries(q, k, plan, heads, kv_heads, d, scale,
              [&](int64_t t, int64_t h, int64_t kv, const auto& rows, const Values& p, double) {
                const double* go = &dout[size_t((t * heads + h) * d)];
                Values dp(rows.size());
                double mean = 0;
                for (size_t j = 0; j < rows.size(); ++j) {
                  for (int64_t e = 0; e < d; ++e) dp[j] += go[e] * v[size_t((rows[j] * kv_heads + kv) * d + e)];
                  mean += p[j] * dp[j];
                }
                for (size_t j = 0; j < rows.size(); ++j) {
                  const double ds = p[j] * (dp[j] - mean) * scale;
                  const size_t row = size_t((rows[j] * kv_heads + kv) * d), query = size_t((t * heads + h) * d);
                  for (int64_t e = 0; e < d; ++e) {
                    g.dq[query + size_t(e)] += ds * k[row + size_t(e)];
                    g.dk[row + size_t(e)] += ds * q[query + size_t(e)];
                    g.dv[row + size_t(e)] += p[j] * go[e];
                  }
                }
              });
  return g;
}

Values log_softmax(const Values& logits, int64_t rows, int64_t vocab) {
  Values out(logits.size());
  for (int64_t r = 0; r < rows; ++r) {
    const double* row = &logits[size_t(r * vocab)];
    const double max = *std::max_element(row, row + vocab);
    double sum = 0;
    for (int64_t i = 0; i < vocab; ++i) sum += std::exp(row[i] - max);
    for (int64_t i = 0; i < vocab; ++i) out[size_t(r * vocab + i)] = row[i] - max - std::log(sum);
  }
  return out;
}

void adamw(const AdamW& o, AdamState& s, const Values& grad) {
  for (size_t i = 0; i < grad.size(); ++i) {
    const double g = grad[i] * double(o.grad_scale);
    s.m[i] = o.beta1 * s.m[i] + (1 - o.beta1) * g;
    s.v[i] = o.beta2 * s.v[i] + (1 - o.beta2) * g * g;
    const double m = s.m[i] / (1 - std::pow(o.beta1, double(o.step))),
                 v = s.v[i] / (1 - std::pow(o.beta2, double(o.step)));
    s.param[i] -= o.lr * (m / (std::sqrt(v) + o.eps) + o.weight_decay * s.param[i]);
  }
}

}  // namespace vpref::reference
