// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/attention_tile.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/row.h"

namespace vpref::cpu {

void pack_rows(const Kernels& kn, const Tensor& x, int64_t head, const PackedRows& rows, int64_t begin, int64_t end,
               float* to) {
  const int64_t d = x.dim(2), ld = packed_stride(d);
  for (size_t i = 0; i < rows.intervals().size(); ++i) {
    const KvRange& r = rows.intervals()[i];
    const int64_t first = std::max(begin, rows.first(i)), last = std::min(end, rows.first(i) + r.count);
    for (int64_t p = first; p < last; ++p)
      kn.to_f32(row_address(x, r.begin + p - rows.first(i), head * d), x.dtype, to + p * ld, d);
  }
}

void pack_queries(const AttentionCall& call, const Tensor& x, const QueryBlock& tile, int64_t kv_head, float factor,
                  float* transposed, float* rows) {
  const Kernels& kn = call.kn;
  const int64_t d = call.d, lanes = tile_lanes(call, tile);
  alignas(64) float copy[512];
  std::memset(transposed, 0, size_t(d * lanes) * sizeof(float));
  for (int64_t i = 0; i < tile.count(); ++i) {
    const int64_t row = tile.span->q_begin + tile.row + i % tile.rows;
    const int64_t head = kv_head * call.group + tile.head + i / tile.rows;
    for (int64_t e = 0; e < d; e += 512) {
      const int64_t n = std::min<int64_t>(512, d - e);
      float* piece = rows ? rows + i * d + e : copy;
      kn.to_f32(row_address(x, row, head * d + e), x.dtype, piece, n);
      if (factor != 1.0f) kn.scale(factor, piece, n);
      for (int64_t j = 0; j < n; ++j) transposed[(e + j) * lanes + i] = piece[j];
    }
  }
}

void mask(float* scores, const QueryBlock& tile, int64_t keys, int64_t lanes, int64_t visible, int64_t hidden) {
  for (int64_t key = std::max<int64_t>(visible, 0); key < keys; ++key)
    for (int64_t i = 0; i < tile.count(); ++i)
      if (key >= visible + i % tile.rows) scores[key * lanes + i] = kNothing;
  for (int64_t key = 0; key < std::min(keys, hidden + tile.rows - 1); ++key)
    for (int64_t i = 0; i < tile.count(); ++i)
      if (key < hidden + i % tile.rows) scores[key * lanes + i] = kNothing;
}

}  // namespace vpref::cpu
