// SPDX-License-Identifier: Apache-2.0
// A block of rows at a time, a sum's depth after the other. Weights whose scales do not fit the kernels are unpacked
// into cache and multiplied there.
#include "backend/cpu/packed_products.h"

#include <algorithm>

namespace vpref::cpu {
namespace {

// No group of codes that the kernels scale at once belongs to two blocks.
bool fits_kernels(const PackedWeight& w) {
  return !is_four_bit(w.packing) || (w.block == kScaledCodes && w.num_cols % kScaledCodes == 0);
}

// At most kPackedCols rows at some k, for the kernels.
struct Codes {
  alignas(64) float scales[kMaxDepth / kScaledCodes * kPackedCols];
  CodeRows rows;

  Codes(const Codes&) = delete;
  Codes(const PackedWeight& w, Range n, Range k) {
    const bool four_bit = is_four_bit(w.packing);
    const int64_t codes_per_byte = four_bit ? 2 : 1, first = n.first * w.num_cols + k.first;
    rows = {.codes = w.codes.as<uint8_t>() + first / codes_per_byte,
            .stride = w.num_cols / codes_per_byte,
            .count = int(n.count),
            .book = four_bit ? w.book.as<float>() : nullptr,
            .scales = scales,
            .ahead = 0};
    for (int64_t r = 0; r < kPackedCols; ++r) {
      const int64_t row = std::min(r, n.count - 1);
      if (!four_bit) {
        scales[r] = w.scales.as<float>()[n.first + row];
        continue;
      }
      float of_row[kMaxDepth / kScaledCodes];
      block_scales(w, (first + row * w.num_cols) / kScaledCodes, k.count / kScaledCodes, of_row);
      for (int64_t g = 0; g < k.count / kScaledCodes; ++g) scales[g * kPackedCols + r] = of_row[g];
    }
    // The next depth of these rows, or the first of the rows after them.
    const int64_t next = k.first + k.count < w.num_cols ? k.count : kPackedCols * w.num_cols - k.first;
    rows.ahead = next / codes_per_byte;
  }
};

void unpack_rows(const Kernels& kernels, const PackedWeight& w, Range n, Range k, float* tile) {
  for (int64_t r = 0; r < n.count; ++r) unpack_part(kernels, w, n.first + r, k.first, k.count, tile + r * k.count);
}

// Products of a part of k, set down or added.
void put_sums(const float* sums, int64_t rows, int64_t cols, Rows<float> y, bool add) {
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t c = 0; c < cols; ++c) {
      float& to = y.data[t * y.stride + c];
      to = add ? to + sums[t * kPackedCols + c] : sums[t * kPackedCols + c];
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

void pack_packed(const Kernels& k, const PackedWeight& w, Range rows, Range depth, float* panel) {
  if (fits_kernels(w)) return k.packed.pack(Codes(w, rows, depth).rows, depth.count, panel);
  alignas(64) float tile[kMaxPanelCols * kMaxDepth];
  unpack_rows(k, w, rows, depth, tile);
  k.product.pack(tile, DType::f32, depth.count, int(rows.count), k.product.cols, depth.count, panel);
}

void packed_few(const Kernels& k, const PackedWeight& w, Rows<const float> x, int64_t rows, Range n, Rows<float> y) {
  alignas(64) float tile[kPackedCols * kMaxDepth], sums[kMaxFewRows * kPackedCols];
  const ProductKernels& dense = k.product;
  const bool fits = fits_kernels(w);
  const int64_t passes = (rows + dense.few_rows - 1) / dense.few_rows;
  for (int64_t c = 0; c < n.count; c += kPackedCols) {
    const Range block{n.first + c, std::min<int64_t>(kPackedCols, n.count - c)};
    for (int64_t first = 0; first == 0 || first < w.num_cols; first += dense.depth) {
      const Range depth{first, std::min(dense.depth, w.num_cols - first)};
      const auto each_part = [&](const auto& few) {
        for (int64_t pass = 0; pass < passes; ++pass) {
          const int64_t t = rows * pass / passes;
          const int some = int(rows * (pass + 1) / passes - t);
          few(x.data + t * x.stride + first, some);
          put_sums(sums, some, block.count, {y.data + t * y.stride + block.first, y.stride}, first > 0);
        }
      };
      if (fits) {
        const Codes codes(w, block, depth);
        each_part(
            [&](const float* at, int some) { k.packed.few({at, x.stride}, some, codes.rows, depth.count, sums); });
      } else {
        unpack_rows(k, w, block, depth, tile);
        each_part([&](const float* at, int some) {
          dense.few({at, x.stride}, some, {tile, DType::f32, depth.count}, depth.count, 0, block.count,
                    {sums, kPackedCols});
        });
      }
    }
  }
}

}  // namespace vpref::cpu
