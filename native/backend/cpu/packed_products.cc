// SPDX-License-Identifier: Apache-2.0
// Products with packed weights, one block of rows and one depth of k at a time. Weights that are not interleaved are
// unpacked into cache and multiplied there.
#include "backend/cpu/packed_products.h"

#include <algorithm>

#include "core/interleaved_weight.h"

namespace vpref::cpu {

static_assert(kPackedCols == kInterleavedRows && kScaledCodes == PackedWeight::kBlock);

namespace {

// The kernels' input from this row and k on.
InterleavedCodes codes_from(const PackedWeight& w, int64_t row, int64_t k) {
  const int64_t block = row / kPackedCols, in_block = row % kPackedCols, per_lane = is_four_bit(w.packing) ? 8 : 4;
  const int64_t scale = w.scales.dim(1) > 1 ? k / kScaledCodes : 0;
  return {
      .codes = w.codes.as<uint8_t>() + ((block * w.codes.dim(1) + k / per_lane) * kPackedCols + in_block) * kLaneBytes,
      .book = is_four_bit(w.packing) ? w.book.as<float>() : nullptr,
      .scales = w.scales.as<float>() + (block * w.scales.dim(1) + scale) * kPackedCols + in_block};
}

void unpack_each(const Kernels& kernels, const PackedWeight& w, Range n, Range k, float* tile) {
  for (int64_t r = 0; r < n.count; ++r) unpack_part(kernels, w, n.first + r, k.first, k.count, tile + r * k.count);
}

// One block of rows of w for all rows of x, `each` rows at a time.
struct Block {
  const Kernels& kernels;
  const ProductKernels& kernel;
  const PackedWeight& w;
  Rows<const char> x;
  int64_t rows, each;
  Range n;
  // Some rows of x from row t and this k on.
  Rows<const void> from(int64_t t, int64_t k) const {
    return {x.data + (t * x.stride + k) * int64_t(kernel.size), x.stride};
  }
};

// sums: [rows][kPackedCols].
void multiply_codes(const Block& b, float* sums) {
  for (int64_t first = 0; first == 0 || first < b.w.num_cols; first += b.kernel.depth) {
    const InterleavedCodes codes = codes_from(b.w, b.n.first, first);
    for (int64_t t = 0; t < b.rows; t += b.each)
      b.kernel.skinny_codes(b.from(t, first), int(std::min(b.each, b.rows - t)), codes,
                            std::min(b.kernel.depth, b.w.num_cols - first), sums + t * kPackedCols, first > 0);
  }
}

// The same from scaled weights, for those that are not interleaved; f32 only.
void multiply_unpacked(const Block& b, float* sums) {
  alignas(64) float tile[kPackedCols * kMaxDepthF32], part[kMaxSkinnyRows * kPackedCols];
  for (int64_t first = 0; first == 0 || first < b.w.num_cols; first += b.kernel.depth) {
    const Range depth{first, std::min(b.kernel.depth, b.w.num_cols - first)};
    unpack_each(b.kernels, b.w, b.n, depth, tile);
    for (int64_t t = 0; t < b.rows; t += b.each) {
      const int64_t some = std::min(b.each, b.rows - t);
      b.kernel.skinny(b.from(t, first), int(some), {tile, DType::f32, depth.count}, depth.count, 0, b.n.count,
                      {part, kPackedCols});
      for (int64_t i = 0; i < some * kPackedCols; ++i) {
        float& to = sums[t * kPackedCols + i];
        to = first > 0 ? to + part[i] : part[i];
      }
    }
  }
}

// A piece of a row's codes is copied together first.
void unpack_interleaved(const Kernels& k, const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out) {
  const bool four_bit = is_four_bit(w.packing);
  const float* book = four_bit ? w.book.as<float>() : nullptr;
  const int64_t per_byte = four_bit ? 2 : 1, end = col + count;
  uint8_t codes[kMaxDepth];
  for (int64_t first = col, piece_end; first < end; first = piece_end) {
    piece_end = std::min(end, (first / kMaxDepth + 1) * kMaxDepth);
    const int64_t byte = first / per_byte;
    copy_codes(w, row, byte, (piece_end + per_byte - 1) / per_byte - byte, codes);
    for (int64_t i = first, stop; i < piece_end; i = stop) {
      stop = four_bit ? std::min(piece_end, (i / kScaledCodes + 1) * kScaledCodes) : piece_end;
      const float scale = interleaved_scale(w, row, i);
      // A part may begin in a low half.
      if (four_bit && i % 2 != 0) *out++ = book[codes[i++ / 2 - byte] & 15] * scale;
      k.unpack_codes(codes + i / per_byte - byte, book, scale, stop - i, out);
      out += stop - i;
    }
  }
}

}  // namespace

void unpack_part(const Kernels& k, const PackedWeight& w, int64_t row, int64_t col, int64_t count, float* out) {
  if (w.interleaved) return unpack_interleaved(k, w, row, col, count, out);
  const int64_t begin = row * w.num_cols + col, end = begin + count;
  const uint8_t* codes = w.codes.as<uint8_t>();
  if (!is_four_bit(w.packing)) return k.unpack_codes(codes + begin, nullptr, w.scales.as<float>()[row], count, out);
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
    k.unpack_codes(codes + i / 2, book, scale, stop - i, out + (i - begin));
    i = stop;
  }
}

void unpack_rows(const Kernels& k, const PackedWeight& w, int64_t row, int64_t col, int64_t count, Rows<float> y) {
  k.unpack_rows(codes_from(w, row, col), count, y);
}

int64_t pack_packed(const Kernels& k, const ProductKernels& kernel, const PackedWeight& w, Range rows, Range depth,
                    void* panel, float* scales) {
  if (!w.interleaved) {
    alignas(64) float tile[kMaxPanelCols * kMaxDepthF32];
    unpack_each(k, w, rows, depth, tile);
    kernel.pack(tile, DType::f32, depth.count, int(rows.count), kernel.cols, depth.count, panel);
    return 0;
  }
  const InterleavedCodes codes = codes_from(w, rows.first, depth.first);
  kernel.pack_codes(codes, depth.count, panel);
  const int64_t per_scale = is_four_bit(w.packing) ? kScaledCodes : kernel.depth;  // a panel's padding included
  for (int64_t i = 0; i * per_scale < depth.count; ++i)
    std::copy_n(codes.scales + i * kPackedCols, kernel.cols, scales + i * kernel.cols);
  return per_scale;
}

void packed_skinny(const Kernels& k, const ProductKernels& kernel, const PackedWeight& w, Rows<const char> x,
                   int64_t rows, Range n, Rows<float> y) {
  constexpr int64_t kMaxPasses = 2;  // whose sums are kept
  alignas(64) float sums[kMaxPasses * kMaxSkinnyRows * kPackedCols];
  const int64_t at_once = kMaxPasses * kernel.skinny_rows;
  for (int64_t c = 0; c < n.count; c += kPackedCols)
    for (int64_t t = 0; t < rows; t += at_once) {
      const int64_t some = std::min(at_once, rows - t), passes = (some + kernel.skinny_rows - 1) / kernel.skinny_rows;
      const Range block{n.first + c, std::min<int64_t>(kPackedCols, n.count - c)};
      const Rows<const char> from{x.data + t * x.stride * int64_t(kernel.size), x.stride};
      (w.interleaved ? multiply_codes : multiply_unpacked)(
          {k, kernel, w, from, some, (some + passes - 1) / passes, block}, sums);
      for (int64_t i = 0; i < some; ++i)
        std::copy_n(sums + i * kPackedCols, block.count, y.data + (t + i) * y.stride + block.first);
    }
}

}  // namespace vpref::cpu
