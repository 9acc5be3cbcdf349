// SPDX-License-Identifier: Apache-2.0
// Tiled attention with online softmax (FlashAttention, 2205.14135). Scores are stored transposed, a key per row and
// queries across the lanes, so the softmax needs no horizontal reduction. Decoding has its own path
// (attention_decode.h).
#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/attention_decode.h"
#include "backend/cpu/attention_tile.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {
namespace {

struct TileScratch {
  float *query, *scores, *out, *max, *sum, *correction, *keys, *values;
  static int64_t floats(int64_t d) {
    return up(d * kQueries, 16) + kKeys * kQueries + up(kQueries * d, 16) + 3 * kQueries + 2 * kKeys * packed_stride(d);
  }
  TileScratch(float* memory, int64_t d) {
    Pieces p{memory};
    query = p.take(d * kQueries);
    scores = p.take(kKeys * kQueries);
    out = p.take(kQueries * d);
    max = p.take(kQueries);
    sum = p.take(kQueries);
    correction = p.take(kQueries);
    keys = p.take(kKeys * packed_stride(d));
    values = p.take(kKeys * packed_stride(d));
  }
};

// The rows of a block side by side: in place if they are adjacent, else copied to scratch.
const float* block_rows(const KeyBlock& block, const PackedRows& rows, const float* packed, int64_t ld,
                        float* scratch) {
  if (block.pieces.size() == 1) return packed + rows.at(block.pieces[0].begin) * ld;
  float* to = scratch;
  for (const KvRange& piece : block.pieces) to = std::copy_n(packed + rows.at(piece.begin) * ld, piece.count * ld, to);
  return scratch;
}

void attend_tile(const AttentionCall& call, const QueryBlock& tile, const PackedHead& head, const AttentionOutput& to,
                 const TileScratch& s) {
  const Kernels& kn = call.kn;
  const int64_t d = call.d, ld = packed_stride(d), count = tile.count(), lanes = tile_lanes(call, tile);
  pack_queries(call, call.q, tile, head.head, call.scale, s.query, nullptr);
  std::fill(s.max, s.max + lanes, kNothing);
  std::fill(s.sum, s.sum + lanes, 0.0f);
  std::memset(s.out, 0, size_t(count * d) * sizeof(float));
  for_key_blocks(call.plan, tile, [&](const KeyBlock& block) {
    const int64_t n = block.rows;
    const float* keys = block_rows(block, head.rows, head.keys, ld, s.keys);
    kn.gemm_tile(n, lanes, d, {keys, ld, 1}, {s.query, lanes}, {s.scores, lanes}, /*accumulate=*/false);
    mask(s.scores, tile, n, lanes, block.visible, block.hidden);
    if (kn.softmax_step(s.scores, n, lanes, s.max, s.sum, s.correction))
      for (int64_t i = 0; i < count; ++i) kn.scale(s.correction[i], s.out + i * d, d);
    const float* values = block_rows(block, head.rows, head.values, ld, s.values);
    kn.gemm_tile(count, d, n, {s.scores, 1, lanes}, {values, ld}, {s.out, d}, /*accumulate=*/true);
  });
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = tile.span->q_begin + tile.row + i % tile.rows;
    const int64_t q_head = head.head * call.group + tile.head + i / tile.rows;
    kn.scale(1.0f / s.sum[i], s.out + i * d, d);
    kn.from_f32(s.out + i * d, row_address(to.out, row, q_head * d), to.out.dtype, d);
    if (to.lse) to.lse.as<float>()[row * call.q.dim(1) + q_head] = s.max[i] + std::log(s.sum[i]);
  }
}

void attend_tiled(Context& ctx, const AttentionCall& call, const std::vector<const AttentionSpan*>& spans,
                  const AttentionOutput& to) {
  const PackedRows rows(call.plan, spans);
  const std::vector<QueryBlock> tiles = query_blocks(spans, call.group);
  const int64_t ld = packed_stride(call.d), per_head = rows.rows() * ld, num_tiles = int64_t(tiles.size());
  const int64_t round = std::min<int64_t>(call.kv_heads(), std::max(4, 2 * ctx.num_threads));  // heads packed at a time
  const int threads = threads_for(ctx, round * num_tiles, rows.rows() * call.d);
  const int64_t scratch_floats = TileScratch::floats(call.d);
  float* memory =
      static_cast<float*>(ctx.workspace.get(size_t(2 * round * per_head + threads * scratch_floats) * sizeof(float)));
  float* scratch = memory + 2 * round * per_head;
  constexpr int64_t kPackRows = 256;
  const int64_t packs = (rows.rows() + kPackRows - 1) / kPackRows;
  for (int64_t first = 0; first < call.kv_heads(); first += round) {
    const int64_t heads = std::min(round, call.kv_heads() - first);
    parallel_ranges(threads, heads * packs, 1, [&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t head = i / packs, row = i % packs * kPackRows;
        pack_rows(call.kn, call.k, first + head, rows, row, row + kPackRows, memory + 2 * head * per_head);
        pack_rows(call.kn, call.v, first + head, rows, row, row + kPackRows, memory + (2 * head + 1) * per_head);
      }
    });
    parallel_items(threads, heads * num_tiles, [&](int thread, int64_t i) {
      const int64_t head = i / num_tiles;
      const float* packed = memory + 2 * head * per_head;
      attend_tile(call, tiles[size_t(i % num_tiles)], {first + head, rows, packed, packed + per_head}, to,
                  TileScratch(scratch + thread * scratch_floats, call.d));
    });
  }
}

}  // namespace

std::vector<uint64_t> prepare_attention(Context&, const AttentionPlan&, DType, int64_t, int64_t, int64_t) { return {}; }

void attention(Context& ctx, const Qkv& x, const AttentionPlan& plan, float scale, const AttentionOutput& to) {
  const AttentionCall call(x, plan, scale);
  std::vector<const AttentionSpan*> tiled, decode;
  for (const AttentionSpan& s : plan.spans)
    (plan.is_decode && s.q_count * call.group <= kDecodeQueries ? decode : tiled).push_back(&s);
  if (!tiled.empty()) attend_tiled(ctx, call, tiled, to);
  if (!decode.empty()) attend_decode(ctx, call, decode, to);
}

}  // namespace vpref::cpu
