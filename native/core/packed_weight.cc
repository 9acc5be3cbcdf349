// SPDX-License-Identifier: Apache-2.0
// Compiled without fused multiply-add (CMakeLists.txt), because the format defines every rounding.
#include "core/packed_weight.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/arena.h"
#include "core/error.h"
#include "core/interleaved_weight.h"

namespace vpref {
namespace {

constexpr int kBook = 16, kMap = 256;

// QLoRA (arXiv 2305.14314), appendix E.
constexpr std::array<float, kBook> kNf4 = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

// For e = 0 .. 6: the midpoints of 2^e equal parts of [0.1, 1], times 10^(e - 6), with both signs; and 0 and 1.
std::array<float, kMap> make_dynamic_map() {
  constexpr double kPowers[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1};
  std::array<float, kMap> map{};
  size_t count = 0;
  for (int e = 0; e < 7; ++e) {
    const int pieces = 1 << e;
    for (int i = 0; i < pieces; ++i) {
      const double middle = 0.1 + 0.9 * (2 * i + 1) / (2 * pieces);
      map[count++] = float(kPowers[e] * middle);
      map[count++] = float(-kPowers[e] * middle);
    }
  }
  map[count++] = 0;
  map[count++] = 1;
  std::sort(map.begin(), map.end());
  return map;
}

// A value gets code i if it is above the first i of these midpoints; a value on a midpoint gets the lower code.
// Midpoints are in f32, as in bitsandbytes.
template <size_t N>
std::array<float, N - 1> limits_of(const std::array<float, N>& codes) {
  std::array<float, N - 1> limits{};
  for (size_t i = 0; i + 1 < N; ++i) limits[i] = (codes[i] + codes[i + 1]) / 2;
  return limits;
}

// The factor that scales a block into [-1, 1]; finite for any block.
float inverse_of(float absmax) { return 1.0f / std::max(absmax, 1e-38f); }

const std::array<float, kMap>& map() {
  static const std::array<float, kMap> made = make_dynamic_map();
  return made;
}

// Reads [count] elements of a dense tensor, from element `begin`, as f32.
void read(const Tensor& from, int64_t begin, int64_t count, float* out) {
  if (from.dtype == DType::f32) {
    std::copy_n(from.as<float>() + begin, count, out);
  } else if (from.dtype == DType::bf16) {
    for (int64_t i = 0; i < count; ++i) out[i] = to_f32(from.as<bf16_t>()[begin + i]);
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = to_f32(from.as<f16_t>()[begin + i]);
  }
}

// NaN if any element is NaN: as integers, magnitudes keep their order, and NaN is the largest.
float absmax_of(const float* x, int64_t count) {
  int32_t max_bits = 0;
  for (int64_t i = 0; i < count; ++i) {
    int32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffff;
    max_bits = bits > max_bits ? bits : max_bits;
  }
  float absmax;
  std::memcpy(&absmax, &max_bits, sizeof absmax);
  return absmax;
}

// Rounds half to even, for magnitudes below 2^22.
float rounded(float x) {
  constexpr float kOnes = 12582912.0f;  // 1.5 x 2^23, whose last bit is 1
  return (x + kOnes) - kOnes;
}

// Writes the 64 codes of one block; a block of zeros gets the code of 0.
void nf4_codes(const float* x, float absmax, uint8_t (&codes)[PackedWeight::kBlock]) {
  static const std::array<float, kBook - 1> limits = limits_of(kNf4);
  constexpr int kCount = PackedWeight::kBlock;
  const float inverse = inverse_of(absmax);
  float scaled[kCount];
  int32_t above[kCount] = {};
  for (int i = 0; i < kCount; ++i) scaled[i] = std::min(1.0f, std::max(-1.0f, x[i] * inverse));
  for (const float limit : limits)
    for (int i = 0; i < kCount; ++i) above[i] += scaled[i] > limit ? 1 : 0;
  for (int i = 0; i < kCount; ++i) codes[i] = uint8_t(above[i]);
}

bool pack_blocks(const Tensor& from, int64_t begin, int64_t end, const PackedWeight& to, float* absmax) {
  constexpr int64_t kBlock = PackedWeight::kBlock;
  bool finite = true;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * kBlock, count = std::min(kBlock, to.numel() - first);
    float x[kBlock] = {};
    uint8_t codes[kBlock];
    read(from, first, count, x);
    absmax[b] = absmax_of(x, count);
    finite = finite && std::isfinite(absmax[b]);
    nf4_codes(x, absmax[b], codes);
    uint8_t* out = to.codes.as<uint8_t>() + first / 2;
    for (int64_t i = 0; i < count; i += 2) out[i / 2] = uint8_t(codes[i] << 4 | codes[i + 1]);
  }
  return finite;
}

bool pack_rows(const Tensor& from, int64_t begin, int64_t end, const PackedWeight& to) {
  std::vector<float> x(size_t(to.num_cols));
  bool finite = true;
  for (int64_t n = begin; n < end; ++n) {
    read(from, n * to.num_cols, to.num_cols, x.data());
    const float absmax = absmax_of(x.data(), to.num_cols), scale = absmax / 127.0f;
    finite = finite && std::isfinite(absmax);
    to.scales.as<float>()[n] = scale;
    int8_t* out = to.codes.as<int8_t>() + n * to.num_cols;
    for (int64_t i = 0; i < to.num_cols; ++i) {
      const float steps = scale > 0 ? x[size_t(i)] / scale : 0.0f;
      out[i] = int8_t(rounded(std::min(127.0f, std::max(-127.0f, steps))));
    }
  }
  return finite;
}

}  // namespace

const char* packing_name(Packing packing) {
  switch (packing) {
    case Packing::none:
      return "none";
    case Packing::nf4:
      return "nf4";
    case Packing::fp4:
      return "fp4";
    case Packing::int8:
      return "int8";
  }
  return "?";
}

std::optional<Packing> parse_packing(std::string_view name) {
  for (const Packing p : {Packing::none, Packing::nf4, Packing::fp4, Packing::int8}) {
    if (name == packing_name(p)) return p;
  }
  return std::nullopt;
}

size_t PackedWeight::bytes() const {
  return codes.bytes() + scales.bytes() + book.bytes() + nested_scales.bytes() + nested_book.bytes();
}

PackedWeight packed_layout(Packing packing, int64_t num_rows, int64_t num_cols, void* memory) {
  check(packing == Packing::nf4 || packing == Packing::int8, "internal", "a weight is packed as nf4 or int8, not ",
        packing_name(packing));
  PackedWeight w;
  w.packing = packing;
  w.num_rows = num_rows;
  w.num_cols = num_cols;
  size_t used = 0;
  const auto part = [&](DType dtype, std::initializer_list<int64_t> shape) {
    Tensor t(memory ? static_cast<char*>(memory) + used : nullptr, dtype, shape);
    used += aligned(t.bytes());
    return t;
  };
  if (packing == Packing::int8) {
    w.codes = part(DType::u8, {num_rows, num_cols});
    w.scales = part(DType::f32, {num_rows});
    return w;
  }
  w.codes = part(DType::u8, {(w.numel() + 1) / 2});
  w.scales = part(DType::u8, {w.num_blocks()});
  w.nested_scales = part(DType::f32, {(w.num_blocks() + w.nested_block - 1) / w.nested_block});
  w.book = part(DType::f32, {kBook});
  w.nested_book = part(DType::f32, {kMap});
  return w;
}

size_t packed_bytes(Packing packing, int64_t num_rows, int64_t num_cols) {
  const PackedWeight w = packed_layout(packing, num_rows, num_cols, nullptr);
  size_t bytes = 0;
  for (const Tensor* t : {&w.codes, &w.scales, &w.nested_scales, &w.book, &w.nested_book}) bytes += aligned(t->bytes());
  return bytes;
}

const float* nf4_book() { return kNf4.data(); }
const float* dynamic_map() { return map().data(); }

int64_t packing_units(const PackedWeight& to) { return is_four_bit(to.packing) ? to.num_blocks() : to.num_rows; }

bool pack_units(const Tensor& from, int64_t begin, int64_t end, const PackedWeight& to, float* absmax) {
  return is_four_bit(to.packing) ? pack_blocks(from, begin, end, to, absmax) : pack_rows(from, begin, end, to);
}

void pack_scales(const float* absmax, PackedWeight& to) {
  if (!is_four_bit(to.packing)) return;
  static const std::array<float, kMap - 1> limits = limits_of(map());
  std::copy_n(nf4_book(), kBook, to.book.as<float>());
  std::copy_n(dynamic_map(), kMap, to.nested_book.as<float>());
  const int64_t blocks = to.num_blocks();
  double sum = 0;
  for (int64_t b = 0; b < blocks; ++b) sum += double(absmax[b]);
  to.offset = blocks > 0 ? float(sum / double(blocks)) : 0;
  for (int64_t first = 0; first < blocks; first += to.nested_block) {
    const int64_t end = std::min(blocks, first + to.nested_block);
    float max = 0;
    for (int64_t b = first; b < end; ++b) max = std::max(max, std::fabs(absmax[b] - to.offset));
    to.nested_scales.as<float>()[first / to.nested_block] = max;
    const float inverse = inverse_of(max);
    for (int64_t b = first; b < end; ++b) {
      const float scaled = std::min(1.0f, std::max(-1.0f, (absmax[b] - to.offset) * inverse));
      to.scales.as<uint8_t>()[b] = uint8_t(std::lower_bound(limits.begin(), limits.end(), scaled) - limits.begin());
    }
  }
}

void block_scales(const PackedWeight& w, int64_t begin, int64_t count, float* out, int64_t step) {
  if (!w.nested()) {
    const float* scales = w.scales.as<float>() + begin;
    for (int64_t i = 0; i < count; ++i) out[i * step] = scales[i];
    return;
  }
  const uint8_t* codes = w.scales.as<uint8_t>() + begin;
  // Rows have few blocks: a division would take as long as their scales.
  const bool power = (w.nested_block & (w.nested_block - 1)) == 0;
  const int64_t nest = power ? begin >> __builtin_ctzll(uint64_t(w.nested_block)) : begin / w.nested_block;
  const float *book = w.nested_book.as<float>(), *nested = w.nested_scales.as<float>() + nest;
  const float offset = w.offset;
  int64_t left = (nest + 1) * w.nested_block - begin;  // of this nested block
  for (; count > 0; left = w.nested_block, ++nested) {
    const int64_t some = std::min(count, left);
    const float scale = *nested;
#pragma GCC unroll 4
    for (int64_t i = 0; i < some; ++i, out += step) {
      const float product = book[codes[i]] * scale;
      *out = product + offset;
    }
    codes += some;
    count -= some;
  }
}

void unpack_row(const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out) {
  if (w.interleaved) return unpack_interleaved_row(w, row, col, count, out);
  if (!is_four_bit(w.packing)) {
    const float scale = w.scales.as<float>()[row];
    const int8_t* codes = w.codes.as<int8_t>() + row * w.num_cols + col;
    for (int64_t i = 0; i < count; ++i) out[i] = float(codes[i]) * scale;
    return;
  }
  const int64_t begin = row * w.num_cols + col, end = begin + count;
  const uint8_t* codes = w.codes.as<uint8_t>();
  const float* book = w.book.as<float>();
  for (int64_t i = begin; i < end;) {
    const int64_t block = i / w.block, stop = std::min(end, (block + 1) * w.block);
    float scale, values[kBook];
    block_scales(w, block, 1, &scale);
    for (int c = 0; c < kBook; ++c) values[c] = book[c] * scale;
    float* to = out + (i - begin);
    if (i & 1) *to++ = values[codes[i++ / 2] & 15];
    for (; i + 2 <= stop; i += 2) {
      *to++ = values[codes[i / 2] >> 4];
      *to++ = values[codes[i / 2] & 15];
    }
    if (i < stop) *to = values[codes[i++ / 2] >> 4];
  }
}

}  // namespace vpref
