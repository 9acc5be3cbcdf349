// SPDX-License-Identifier: Apache-2.0
// Products with packed weights, one block of rows and one depth of k at a time. Weights whose scales do not fit the
// kernels are unpacked into cache and multiplied there.
#include "backend/cpu/packed_products.h"

#include <algorithm>

namespace vpref::cpu {
namespace {

// No group of codes with one scale in the kernels crosses a block.
bool fits_kernels(const PackedWeight& w) {
  return !is_four_bit(w.packing) || (w.block == kScaledCodes && w.num_cols % kScaledCodes == 0);
}

// Scales of at most kPackedCols rows and kSpan elements of k, as CodeRows has them.
class Scales {
 public:
  static constexpr int64_t kSpan = 8 * kMaxDepth;

  void read(const PackedWeight& w, Range n, Range k) {
    first_ = k.first;
    per_block_ = is_four_bit(w.packing);
    for (int64_t r = 0; r < kPackedCols; ++r) {
      const int64_t row = n.first + std::min(r, n.count - 1);
      if (per_block_)
        block_scales(w, (row * w.num_cols + k.first) / kScaledCodes, k.count / kScaledCodes, values_ + r, kPackedCols);
      else
        values_[r] = w.scales.as<float>()[row];
    }
  }
  const float* from(int64_t k) const { return values_ + (per_block_ ? (k - first_) / kScaledCodes * kPackedCols : 0); }

 private:
  int64_t first_ = 0;
  bool per_block_ = false;
  alignas(64) float values_[kSpan / kScaledCodes * kPackedCols];
};

// The kernels' input: at most kPackedCols rows, for a range of k.
CodeRows code_rows(const PackedWeight& w, Range n, Range k, const float* scales) {
  const bool four_bit = is_four_bit(w.packing);
  const int64_t per_byte = four_bit ? 2 : 1, stride = w.num_cols / per_byte, to_next_rows = kPackedCols * stride;
  const bool last = k.first + k.count == w.num_cols;
  return {.codes = w.codes.as<uint8_t>() + (n.first * w.num_cols + k.first) / per_byte,
          .stride = stride,
          .count = int(n.count),
          .book = four_bit ? w.book.as<float>() : nullptr,
          .scales = scales,
          .ahead = stride < kShortRowBytes ? to_next_rows
                   : last                  ? to_next_rows - k.first / per_byte
                                           : k.count / per_byte};
}

void unpack_rows(const Kernels& kernels, const PackedWeight& w, Range n, Range k, float* tile) {
  for (int64_t r = 0; r < n.count; ++r) unpack_part(kernels, w, n.first + r, k.first, k.count, tile + r * k.count);
}

// One block of rows of w for all rows of x, `each` rows at a time.
struct Block {
  const Kernels& kernels;
  const PackedWeight& w;
  Rows<const float> x;
  int64_t rows, each;
  Range n;
};

// sums: [rows][kPackedCols].
void multiply_codes(const Block& b, float* sums) {
  const PackedWeight& w = b.w;
  Scales scales;
  for (int64_t first = 0; first == 0 || first < w.num_cols; first += kMaxDepth) {
    if (first % Scales::kSpan == 0) scales.read(w, b.n, {first, std::min(Scales::kSpan, w.num_cols - first)});
    const Range depth{first, std::min<int64_t>(kMaxDepth, w.num_cols - first)};
    const CodeRows codes = code_rows(w, b.n, depth, scales.from(first));
    for (int64_t t = 0; t < b.rows; t += b.each)
      b.kernels.packed.skinny({b.x.data + t * b.x.stride + first, b.x.stride}, int(std::min(b.each, b.rows - t)), codes,
                              depth.count, sums + t * kPackedCols, first > 0);
  }
}

// The same from scaled weights, for those that do not fit the kernels.
void multiply_unpacked(const Block& b, float* sums) {
  alignas(64) float tile[kPackedCols * kMaxDepth], part[kMaxSkinnyRows * kPackedCols];
  for (int64_t first = 0; first == 0 || first < b.w.num_cols; first += kMaxDepth) {
    const Range depth{first, std::min<int64_t>(kMaxDepth, b.w.num_cols - first)};
    unpack_rows(b.kernels, b.w, b.n, depth, tile);
    for (int64_t t = 0; t < b.rows; t += b.each) {
      const int64_t some = std::min(b.each, b.rows - t);
      b.kernels.product.skinny({b.x.data + t * b.x.stride + first, b.x.stride}, int(some),
                               {tile, DType::f32, depth.count}, depth.count, 0, b.n.count, {part, kPackedCols});
      for (int64_t i = 0; i < some * kPackedCols; ++i) {
        float& to = sums[t * kPackedCols + i];
        to = first > 0 ? to + part[i] : part[i];
      }
    }
  }
}

}  // namespace

void unpack_part(const Kernels& k, const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out) {
  const int64_t begin = row * w.num_cols + col, end = begin + count;
  const uint8_t* codes = w.codes.as<uint8_t>();
  if (!is_four_bit(w.packing)) return k.packed.unpack(codes + begin, nullptr, w.scales.as<float>()[row], count, out);
  const float* book = w.book.as<float>();
  constexpr int64_t kScales = 32;
  float scales[kScales];
  for (int64_t i = begin, first = 0, known = 0; i < end;) {
    const int64_t block = i / w.block, stop = std::min(end, (block + 1) * w.block);
    if (block >= first + known) {
      first = block;
      known = std::min(kScales, (end - 1) / w.block - block + 1);
      block_scales(w, first, known, scales);
    }
    const float scale = scales[block - first];
    // A block may begin in a low half, where rows have an odd length.
    if (i % 2 != 0) {
      out[i - begin] = book[codes[i / 2] & 15] * scale;
      ++i;
    }
    k.packed.unpack(codes + i / 2, book, scale, stop - i, out + (i - begin));
    i = stop;
  }
}

int64_t pack_packed(const Kernels& k, const PackedWeight& w, Range rows, Range depth, float* panel, float* scales) {
  const int64_t cols = k.product.cols;
  if (!fits_kernels(w)) {
    alignas(64) float tile[kMaxPanelCols * kMaxDepth];
    unpack_rows(k, w, rows, depth, tile);
    k.product.pack(tile, DType::f32, depth.count, int(rows.count), int(cols), depth.count, panel);
    return 0;
  }
  Scales all;
  all.read(w, rows, depth);
  k.packed.pack(code_rows(w, rows, depth, nullptr), depth.count, panel);
  const int64_t per_scale = is_four_bit(w.packing) ? kScaledCodes : kMaxDepth;  // a panel's padding included
  for (int64_t i = 0; i < depth.count; i += per_scale, scales += cols)
    std::copy_n(all.from(depth.first + i), cols, scales);
  return per_scale;
}

void packed_skinny(const Kernels& k, const PackedWeight& w, Rows<const float> x, int64_t rows, Range n, Rows<float> y) {
  constexpr int64_t kMaxPasses = 2;  // whose sums are kept
  alignas(64) float sums[kMaxPasses * kMaxSkinnyRows * kPackedCols];
  const bool fits = fits_kernels(w);
  const int64_t at_once = kMaxPasses * k.product.skinny_rows;
  for (int64_t c = 0; c < n.count; c += kPackedCols)
    for (int64_t t = 0; t < rows; t += at_once) {
      const int64_t some = std::min(at_once, rows - t),
                    passes = (some + k.product.skinny_rows - 1) / k.product.skinny_rows;
      const Range block{n.first + c, std::min<int64_t>(kPackedCols, n.count - c)};
      (fits ? multiply_codes : multiply_unpacked)(
          {k, w, {x.data + t * x.stride, x.stride}, some, (some + passes - 1) / passes, block}, sums);
      for (int64_t i = 0; i < some; ++i)
        std::copy_n(sums + i * kPackedCols, block.count, y.data + (t + i) * y.stride + block.first);
    }
}

}  // namespace vpref::cpu
