// SPDX-License-Identifier: Apache-2.0
// Kernels over an f32 row, or a part of it.
#pragma once
#include "backend/cpu/simd.h"

namespace vpref::cpu::VPREF_ISA {

// y[i] = f(loads of x...[i]) for all i; the rest of a register is padded.
template <class Fn, class... X>
static inline void map(float* y, int64_t n, Fn f, const X*... x) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)...));
  if (i < n) store_part(y + i, f(load_part(x + i, n - i)...), n - i);
}

// The sum over i of f(loads of x...[i]). f must return 0 for padded lanes, or n must be a multiple of the lanes. Four
// partial sums hide the latency.
template <class Fn, class... X>
static inline float reduce(int64_t n, Fn f, const X*... x) {
  F a{}, b{}, c{}, d{};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a = f(a, load(x + i)...);
    b = f(b, load(x + i + kLanes)...);
    c = f(c, load(x + i + 2 * kLanes)...);
    d = f(d, load(x + i + 3 * kLanes)...);
  }
  for (; i + kLanes <= n; i += kLanes) a = f(a, load(x + i)...);
  if (i < n) b = f(b, load_part(x + i, n - i)...);
  return reduce_add((a + b) + (c + d));
}

template <class T>
static inline void widen(const T* x, float* y, int64_t n) {
  map(y, n, [](F v) { return v; }, x);
}

template <class T>
static inline void narrow(const float* x, T* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, load(x + i));
  if (i < n) store_part(y + i, load_part(x + i, n - i), n - i);
}

static void to_f32_row(const void* x, DType dtype, float* y, int64_t n) {
  if (dtype == DType::f32)
    widen(static_cast<const float*>(x), y, n);
  else if (dtype == DType::bf16)
    widen(static_cast<const bf16_t*>(x), y, n);
  else
    widen(static_cast<const f16_t*>(x), y, n);
}

static void from_f32_row(const float* x, void* y, DType dtype, int64_t n) {
  if (dtype == DType::f32)
    narrow(x, static_cast<float*>(y), n);
  else if (dtype == DType::bf16)
    narrow(x, static_cast<bf16_t*>(y), n);
  else
    narrow(x, static_cast<f16_t*>(y), n);
}

static float sum_squares(const float* x, int64_t n) {
  return reduce(n, [](F s, F v) { return fma(v, v, s); }, x);
}

static double sum_squares_f64(const float* x, int64_t n) {
  constexpr int kWays = 16;
  double s[kWays] = {};
  int64_t i = 0;
  for (; i + kWays <= n; i += kWays)
    for (int j = 0; j < kWays; ++j) s[j] += double(x[i + j]) * double(x[i + j]);
  for (; i < n; ++i) s[0] += double(x[i]) * double(x[i]);
  for (int m = kWays / 2; m > 0; m /= 2)
    for (int j = 0; j < m; ++j) s[j] += s[j + m];
  return s[0];
}

static float sum(const float* x, int64_t n) {
  return reduce(n, [](F s, F v) { return s + v; }, x);
}

static float dot(const float* a, const float* b, int64_t n) {
  return reduce(n, [](F s, F u, F v) { return fma(u, v, s); }, a, b);
}

static float dot3(const float* a, const float* b, const float* c, int64_t n) {
  return reduce(n, [](F s, F u, F v, F w) { return fma(u * v, w, s); }, a, b, c);
}

static float centered_sum_squares(const float* x, float mean, int64_t n) {
  const int64_t whole = n / kLanes * kLanes;
  const F m = splat(mean);
  float s = reduce(whole, [m](F a, F v) { return fma(v - m, v - m, a); }, x);
  for (int64_t i = whole; i < n; ++i) s += (x[i] - mean) * (x[i] - mean);
  return s;
}

static float max_row(const float* x, int64_t n) {
  F m = splat(-__builtin_inff());
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) m = max(m, load(x + i));
  float best = reduce_max(m);
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

static void add_scaled(const float* x, float alpha, float* y, int64_t n) {
  const F a = splat(alpha);
  map(y, n, [a](F v, F w) { return fma(a, v, w); }, x, static_cast<const float*>(y));
}

static void scale(float alpha, float* x, int64_t n) {
  const F a = splat(alpha);
  map(x, n, [a](F v) { return a * v; }, static_cast<const float*>(x));
}

static void scale_weight(const float* x, float r, const float* w, float* y, int64_t n) {
  const F a = splat(r);
  map(y, n, [a](F v, F u) { return v * a * u; }, x, w);
}

static void normalize(const float* x, float mean, float r, const float* w, const float* b, float* y, int64_t n) {
  const F m = splat(mean), a = splat(r);
  map(y, n, [m, a](F v, F u, F c) { return fma((v - m) * a, u, c); }, x, w, b);
}

static void norm_backward(const float* dy, const float* x, const float* w, const NormScales& scales, float* dx,
                          bool accumulate, int64_t n) {
  const F m = splat(scales.mean), a = splat(scales.r), k0 = splat(scales.c0), k1 = splat(scales.c1);
  const auto gradient = [m, a, k0, k1](F g, F v, F u) { return a * (g * u - (v - m) * a * k1 - k0); };
  if (accumulate)
    map(
        dx, n, [gradient](F g, F v, F u, F old) { return old + gradient(g, v, u); }, dy, x, w,
        static_cast<const float*>(dx));
  else
    map(dx, n, gradient, dy, x, w);
}

static void norm_backward_weight(const float* dy, const float* x, float mean, float r, float* dw, float* db,
                                 int64_t n) {
  const F m = splat(mean), a = splat(r);
  map(dw, n, [m, a](F g, F v, F old) { return fma(g, (v - m) * a, old); }, dy, x, static_cast<const float*>(dw));
  if (db) map(db, n, [](F g, F old) { return old + g; }, dy, static_cast<const float*>(db));
}

static void rope(float* x, const float* cosine, const float* sine, int64_t half) {
  float* y = x + half;
  int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const F a = load(x + i), b = load(y + i), c = load(cosine + i), s = load(sine + i);
    store(x + i, a * c - b * s);
    store(y + i, b * c + a * s);
  }
  for (; i < half; ++i) {
    const float a = x[i], b = y[i];
    x[i] = a * cosine[i] - b * sine[i];
    y[i] = b * cosine[i] + a * sine[i];
  }
}

static void swiglu(const float* gate, const float* up, float* y, int64_t n) {
  map(y, n, [](F g, F u) { return g * sigmoid(g) * u; }, gate, up);
}

static void swiglu_backward(const float* dy, const float* gate, const float* up, float* dgate, float* dup, int64_t n) {
  const auto step = [](F d, F g, F u, F& dg, F& du) {
    const F s = sigmoid(g);
    du = d * g * s;
    dg = d * u * s * (splat(1.0f) + g * (splat(1.0f) - s));
  };
  F dg, du;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    step(load(dy + i), load(gate + i), load(up + i), dg, du);
    store(dgate + i, dg);
    store(dup + i, du);
  }
  if (i == n) return;
  step(load_part(dy + i, n - i), load_part(gate + i, n - i), load_part(up + i, n - i), dg, du);
  store_part(dgate + i, dg, n - i);
  store_part(dup + i, du, n - i);
}

// tanh form: 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3).
static inline F tanh_argument(F x) { return splat(1.59576912f) * fma(x * x * x, splat(0.044715f), x); }

static void gelu(Gelu kind, const float* x, float* y, int64_t n) {
  if (kind == Gelu::exact)
    map(y, n, [](F v) { return v * normal_cdf(v); }, x);
  else if (kind == Gelu::quick)
    map(y, n, [](F v) { return v * sigmoid(splat(1.702f) * v); }, x);
  else
    map(y, n, [](F v) { return v * sigmoid(tanh_argument(v)); }, x);
}

static inline F gelu_slope(Gelu kind, F x) {
  if (kind == Gelu::exact) return fma(x * splat(0.398942280f), exp(splat(-0.5f) * x * x), normal_cdf(x));
  if (kind == Gelu::quick) {
    const F s = sigmoid(splat(1.702f) * x);
    return s * fma(splat(1.702f) * x, splat(1.0f) - s, splat(1.0f));
  }
  const F s = sigmoid(tanh_argument(x));
  const F slope = splat(1.59576912f) * fma(x * x, splat(0.134145f), splat(1.0f));
  return s * fma(x * slope, splat(1.0f) - s, splat(1.0f));
}

static void gelu_backward(Gelu kind, const float* dy, const float* x, float* dx, int64_t n) {
  if (kind == Gelu::exact)
    map(dx, n, [](F g, F v) { return g * gelu_slope(Gelu::exact, v); }, dy, x);
  else if (kind == Gelu::quick)
    map(dx, n, [](F g, F v) { return g * gelu_slope(Gelu::quick, v); }, dy, x);
  else
    map(dx, n, [](F g, F v) { return g * gelu_slope(Gelu::tanh, v); }, dy, x);
}

static double sum_exp(const float* x, float shift, float scale, int64_t n) {
  constexpr int64_t kBlock = 4096;  // limits the rounding error of f32 partial sums
  const F m = splat(shift), a = splat(scale);
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = begin + kBlock < n ? begin + kBlock : n;
    F s{}, t{};
    int64_t i = begin;
    for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
      s += exp((load(x + i) - m) * a);
      t += exp((load(x + i + kLanes) - m) * a);
    }
    float part = reduce_add(s + t);
    for (; i < end; i += kLanes) {
      const int64_t count = end - i < kLanes ? end - i : kLanes;
      float lanes[kLanes];
      store(lanes, exp((load_part(x + i, count) - m) * a));
      for (int64_t j = 0; j < count; ++j) part += lanes[j];
    }
    total += double(part);
  }
  return total;
}

static void exp_scaled(const float* x, float shift, float scale, float factor, float* y, int64_t n) {
  const F m = splat(shift), a = splat(scale), f = splat(factor);
  map(y, n, [m, a, f](F v) { return f * exp((v - m) * a); }, x);
}

static void adamw(const AdamW& o, float* param, const float* grad, float* m, float* v, bf16_t* copy, int64_t n) {
  const double bias1 = 1.0 - std::pow(o.beta1, double(o.step)), bias2 = 1.0 - std::pow(o.beta2, double(o.step));
  const F scale = splat(o.grad_scale), keep = splat(float(1.0 - o.lr * o.weight_decay));
  const F w1 = splat(float(1.0 - o.beta1)), b2 = splat(float(o.beta2)), w2 = splat(float(1.0 - o.beta2));
  const F root = splat(float(1.0 / std::sqrt(bias2))), eps = splat(float(o.eps)), step = splat(float(o.lr / bias1));
  const auto update = [&](F& p, F g, F& a, F& b) {
    g *= scale;
    a = fma(w1, g - a, a);
    b = fma(w2 * g, g, b * b2);
    p = p * keep - step * (a / fma(sqrt(b), root, eps));
  };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    F p = load(param + i), a = load(m + i), b = load(v + i);
    update(p, load(grad + i), a, b);
    store(param + i, p);
    store(m + i, a);
    store(v + i, b);
    if (copy) store(copy + i, p);
  }
  if (i == n) return;
  F p = load_part(param + i, n - i), a = load_part(m + i, n - i), b = load_part(v + i, n - i);
  update(p, load_part(grad + i, n - i), a, b);
  store_part(param + i, p, n - i);
  store_part(m + i, a, n - i);
  store_part(v + i, b, n - i);
  if (copy) store_part(copy + i, p, n - i);
}

}  // namespace vpref::cpu::VPREF_ISA
