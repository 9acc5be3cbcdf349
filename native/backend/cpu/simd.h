// SPDX-License-Identifier: Apache-2.0
// One f32 register of the instruction set that this file is compiled for, and functions on it. The includer defines
// VPREF_ISA, the namespace that separates the builds.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "core/dtype.h"

#define VPREF_INLINE __attribute__((always_inline))

namespace vpref::cpu::VPREF_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kTileRows = 12;     // rows of the matrix micro-kernel: the accumulators fill the register file
constexpr int kProductRows = 14;  // rows of x in the linear layers' kernel, for kProductCols rows of weights; as above
constexpr int kSkinnyRows = 12;   // rows of x in the kernel without panels
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kTileRows = 6;
constexpr int kProductRows = 6;
constexpr int kSkinnyRows = 8;
#else
constexpr int kVectorBytes = 16;
constexpr int kTileRows = 6;
constexpr int kProductRows = 6;
constexpr int kSkinnyRows = 8;
#endif
constexpr int kLanes = kVectorBytes / 4;
constexpr int kProductCols = 2 * kLanes;

typedef float F __attribute__((vector_size(kVectorBytes)));
typedef int32_t I __attribute__((vector_size(kVectorBytes)));
typedef uint32_t U __attribute__((vector_size(kVectorBytes)));
typedef uint16_t H __attribute__((vector_size(kVectorBytes / 2)));

static inline F splat(float x) { return x - F{}; }
static inline F load(const float* p) {
  F v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
static inline void store(float* p, F v) { std::memcpy(p, &v, sizeof v); }

static inline F load(const bf16_t* p) {
  H h;
  std::memcpy(&h, p, sizeof h);
  return (F)(__builtin_convertvector(h, U) << 16);
}
static inline void store(bf16_t* p, F v) {
  const U u = (U)v;
  const U rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const U quiet = (u >> 16) | 0x40u;
  const H h = __builtin_convertvector((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded, H);
  std::memcpy(p, &h, sizeof h);
}

static inline F load(const f16_t* p) {
#if defined(__AVX512F__)
  return (F)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
  return (F)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  H h;
  std::memcpy(&h, p, sizeof h);
  const U u = __builtin_convertvector(h, U);
  const U magnitude = (u & 0x7fffu) << 13;
  const U finite = (U)((F)magnitude * 0x1p112f);  // exact, also for subnormals
  return (F)(((u & 0x8000u) << 16) | ((u & 0x7fffu) >= 0x7c00u ? (magnitude | 0x7f800000u) : finite));
#endif
}
static inline void store(f16_t* p, F v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__AVX2__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
  for (int i = 0; i < kLanes; ++i) p[i] = to_f16(v[i]);
#endif
}

// Of two numbers side by side in each lane: the first (e = 0) or the second of every lane.
static inline F half_of(U pairs, int e) { return (F)(e == 0 ? pairs << 16 : pairs & 0xffff0000u); }

// The first n bytes of a register, at most all of them; the others are 0 and are not read.
static inline F load_bytes(const void* p, int64_t n) {
#if defined(__AVX512F__)
  return (F)_mm512_maskz_loadu_epi8(n < kVectorBytes ? (uint64_t(1) << n) - 1 : ~uint64_t(0), p);
#else
  F v{};
  std::memcpy(&v, p, size_t(n));
  return v;
#endif
}
// The first n lanes; the others are 0.
template <class T>
static inline F load_part(const T* p, int64_t n) {
  T lanes[kVectorBytes / sizeof(T)];
  const F bytes = load_bytes(p, n * int64_t(sizeof(T)));
  std::memcpy(lanes, &bytes, sizeof bytes);
  return load(lanes);
}
template <class T>
static inline void store_part(T* p, F v, int64_t n) {
  T lanes[kLanes];
  store(lanes, v);
  std::memcpy(p, lanes, size_t(n) * sizeof(T));
}

static inline F fma(F a, F b, F c) {
#if defined(__AVX512F__)
  return (F)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (F)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
  return (F)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}
static inline F max(F a, F b) { return a > b ? a : b; }
static inline F min(F a, F b) { return a < b ? a : b; }

// Adds halves until one lane is left.
static inline float reduce_add(F v) {
#if defined(__AVX512F__)
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
  float lanes[kLanes];
  store(lanes, v);
  for (int n = kLanes / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
  return lanes[0];
#endif
}
static inline float reduce_max(F v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int n = kLanes / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lanes[i] = lanes[i] > lanes[i + n] ? lanes[i] : lanes[i + n];
  return lanes[0];
}

static inline F sqrt(F v) {
#if defined(__AVX512F__)
  return (F)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX2__)
  return (F)_mm256_sqrt_ps((__m256)v);
#else
  for (int i = 0; i < kLanes; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

// e^x within 1 ulp: x = n ln2 + r; a polynomial for e^r (fitted on |r| <= ln2 / 2), times 2^n in two steps, so that
// subnormal results and infinity are correct. NaN stays NaN.
static inline F exp(F x) {
  const F low = splat(-104.0f), high = splat(89.0f);
  x = x < low ? low : x;
  x = x > high ? high : x;
  const F shifter = splat(0x1.8p23f);
  const F n = fma(x, splat(1.44269504f), shifter) - shifter;
  F r = fma(n, splat(-0.693145752f), x);
  r = fma(n, splat(-1.42860682e-6f), r);
  F p = splat(1.989939245e-04f);
  p = fma(p, r, splat(1.393373321e-03f));
  p = fma(p, r, splat(8.333298341e-03f));
  p = fma(p, r, splat(4.166646417e-02f));
  p = fma(p, r, splat(1.666666672e-01f));
  p = fma(p, r, splat(0.5f));
  p = fma(p, r * r, r) + splat(1.0f);
  const I whole = __builtin_convertvector(n, I);
  const I half = whole >> 1;
  return p * (F)((half + 127) << 23) * (F)((whole - half + 127) << 23);
}

static inline F sigmoid(F x) { return splat(1.0f) / (splat(1.0f) + exp(-x)); }

// erfc(x) for x >= 0 as exp(-x^2) times a polynomial in t = 2 / (2 + x); relative error 3e-7 (x <= 10, where it is 0 in
// f32).
static inline F erfc_positive(F x) {
  const F t = splat(2.0f) / (splat(2.0f) + x);
  F p = splat(3.217942000e-02f);
  p = fma(p, t, splat(-1.702960008e-01f));
  p = fma(p, t, splat(3.290216304e-01f));
  p = fma(p, t, splat(-2.135676695e-01f));
  p = fma(p, t, splat(-9.191615525e-02f));
  p = fma(p, t, splat(7.794684439e-02f));
  p = fma(p, t, splat(3.761164019e-02f));
  p = fma(p, t, splat(1.902015175e-01f));
  p = fma(p, t, splat(2.444077272e-01f));
  p = fma(p, t, splat(2.823255014e-01f));
  p = fma(p, t, splat(2.820855464e-01f));
  return p * t * exp(-(x * x));
}

// The standard normal distribution function.
static inline F normal_cdf(F x) {
  const F magnitude = x < F{} ? -x : x;
  const F tail = splat(0.5f) * erfc_positive(magnitude * splat(0.707106781f));
  return x < F{} ? tail : splat(1.0f) - tail;
}

}  // namespace vpref::cpu::VPREF_ISA
