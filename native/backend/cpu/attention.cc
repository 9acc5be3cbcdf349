// SPDX-License-Identifier: Apache-2.0
// Tiled attention with online softmax (FlashAttention, 2205.14135). Scores are kept transposed, keys down and queries
// across the lanes, so that the softmax needs no horizontal reduction. Decoding's few query rows against many keys take
// a path of their own, which streams keys and values once.
#include "ops/attention.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/attention_plan.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "core/arena.h"

namespace vpref::cpu {
namespace {

constexpr int64_t kDecodeQueries = 8;  // rows times heads of a group that one pass over the keys serves
constexpr float kNothing = -std::numeric_limits<float>::infinity();

int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Consecutive pieces of scratch, each on its own cache line.
struct Pieces {
  float* next;
  float* take(int64_t n) {
    float* p = next;
    next += up(n, 16);
    return p;
  }
};

struct Heads {
  const Tensor &q, &k, &v;
  int64_t d, group;
  Heads(const Tensor& q_, const Tensor& k_, const Tensor& v_)
      : q(q_), k(k_), v(v_), d(q_.dim(2)), group(q_.dim(1) / k_.dim(1)) {}
  int64_t kv_heads() const { return k.dim(1); }
};

// Rows of one head, side by side as f32 with a stride that spreads them over the cache.
int64_t packed_stride(int64_t d) { return up(d, 16) + 16; }

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

// transposed[e * lanes + i] = factor * x[query i of the tile, e], 0 beyond the tile; rows (or null): the same
// untransposed.
void pack_queries(const Kernels& kn, const Tensor& x, const QueryTile& tile, int64_t kv_head, int64_t group,
                  int64_t lanes, float factor, float* transposed, float* rows) {
  const int64_t d = x.dim(2);
  alignas(64) float copy[512];
  std::memset(transposed, 0, size_t(d * lanes) * sizeof(float));
  for (int64_t i = 0; i < tile.count(); ++i) {
    const int64_t row = tile.span->q_begin + tile.row + i % tile.rows;
    const int64_t head = kv_head * group + tile.head + i / tile.rows;
    for (int64_t e = 0; e < d; e += 512) {
      const int64_t n = std::min<int64_t>(512, d - e);
      float* piece = rows ? rows + i * d + e : copy;
      kn.to_f32(row_address(x, row, head * d + e), x.dtype, piece, n);
      if (factor != 1.0f) kn.scale(factor, piece, n);
      for (int64_t j = 0; j < n; ++j) transposed[(e + j) * lanes + i] = piece[j];
    }
  }
}

// Scores of keys that a query does not see become -inf; `visible` and `hidden` as of the block's first key.
void mask(float* scores, const QueryTile& tile, int64_t keys, int64_t lanes, int64_t visible, int64_t hidden) {
  for (int64_t key = std::max<int64_t>(visible, 0); key < keys; ++key)
    for (int64_t i = 0; i < tile.count(); ++i)
      if (key >= visible + i % tile.rows) scores[key * lanes + i] = kNothing;
  for (int64_t key = 0; key < std::min(keys, hidden + tile.rows - 1); ++key)
    for (int64_t i = 0; i < tile.count(); ++i)
      if (key < hidden + i % tile.rows) scores[key * lanes + i] = kNothing;
}

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

// The rows of a block side by side: as they lie packed, or a copy in scratch where they lie apart.
const float* block_rows(const KeyBlock& block, const PackedRows& rows, const float* packed, int64_t ld,
                        float* scratch) {
  if (block.pieces.size() == 1) return packed + rows.at(block.pieces[0].begin) * ld;
  float* to = scratch;
  for (const KvRange& piece : block.pieces) to = std::copy_n(packed + rows.at(piece.begin) * ld, piece.count * ld, to);
  return scratch;
}

void attend_tile(const Kernels& kn, const Heads& h, const AttentionPlan& plan, const PackedRows& rows,
                 const QueryTile& tile, int64_t kv_head, const float* keys, const float* values, float scale,
                 const Tensor& out, const Tensor* lse, const TileScratch& s) {
  const int64_t d = h.d, ld = packed_stride(d), count = tile.count(), lanes = up(count, kn.lanes);
  pack_queries(kn, h.q, tile, kv_head, h.group, lanes, scale, s.query, nullptr);
  std::fill(s.max, s.max + lanes, kNothing);
  std::fill(s.sum, s.sum + lanes, 0.0f);
  std::memset(s.out, 0, size_t(count * d) * sizeof(float));
  for_key_blocks(plan, tile, [&](const KeyBlock& block) {
    const int64_t n = block.rows;
    kn.gemm_tile(n, lanes, d, block_rows(block, rows, keys, ld, s.keys), ld, 1, s.query, lanes, s.scores, lanes,
                 /*accumulate=*/false);
    mask(s.scores, tile, n, lanes, block.visible, block.hidden);
    if (kn.softmax_step(s.scores, n, lanes, s.max, s.sum, s.correction))
      for (int64_t i = 0; i < count; ++i) kn.scale(s.correction[i], s.out + i * d, d);
    kn.gemm_tile(count, d, n, s.scores, 1, lanes, block_rows(block, rows, values, ld, s.values), ld, s.out, d,
                 /*accumulate=*/true);
  });
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = tile.span->q_begin + tile.row + i % tile.rows;
    const int64_t head = kv_head * h.group + tile.head + i / tile.rows;
    kn.scale(1.0f / s.sum[i], s.out + i * d, d);
    kn.from_f32(s.out + i * d, row_address(out, row, head * d), out.dtype, d);
    if (lse) lse->as<float>()[row * h.q.dim(1) + head] = s.max[i] + std::log(s.sum[i]);
  }
}

void attend_tiled(Context& ctx, const Heads& h, const AttentionPlan& plan,
                  const std::vector<const AttentionSpan*>& spans, float scale, const Tensor& out, const Tensor* lse) {
  const Kernels& kn = kernels();
  const PackedRows rows(plan, spans);
  const std::vector<QueryTile> tiles = query_tiles(spans, h.group);
  const int64_t ld = packed_stride(h.d), per_head = rows.rows() * ld, num_tiles = int64_t(tiles.size());
  const int64_t round = std::min<int64_t>(h.kv_heads(), std::max(4, 2 * ctx.num_threads));  // heads packed at once
  const int threads = threads_for(ctx, round * num_tiles, rows.rows() * h.d);
  const int64_t scratch_floats = TileScratch::floats(h.d);
  float* memory =
      static_cast<float*>(ctx.workspace.get(size_t(2 * round * per_head + threads * scratch_floats) * sizeof(float)));
  float* scratch = memory + 2 * round * per_head;
  constexpr int64_t kPackRows = 256;
  const int64_t packs = (rows.rows() + kPackRows - 1) / kPackRows;
  for (int64_t first = 0; first < h.kv_heads(); first += round) {
    const int64_t heads = std::min(round, h.kv_heads() - first);
    parallel_ranges(threads, heads * packs, 1, [&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t head = i / packs, row = i % packs * kPackRows;
        pack_rows(kn, h.k, first + head, rows, row, row + kPackRows, memory + 2 * head * per_head);
        pack_rows(kn, h.v, first + head, rows, row, row + kPackRows, memory + (2 * head + 1) * per_head);
      }
    });
    parallel_items(threads, heads * num_tiles, [&](int thread, int64_t i) {
      const int64_t head = i / num_tiles;
      attend_tile(kn, h, plan, rows, tiles[size_t(i % num_tiles)], first + head, memory + 2 * head * per_head,
                  memory + (2 * head + 1) * per_head, scale, out, lse,
                  TileScratch(scratch + thread * scratch_floats, h.d));
    });
  }
}

// One part of the keys of one span and key/value head; the parts' results are merged by their log-sum-exp.
struct DecodePart {
  const AttentionSpan* span;
  int64_t kv_head, keys, begin, end;  // of all keys that the span sees, these
};

struct DecodeScratch {
  float *query, *scores, *values;
  static int64_t floats(int64_t d) { return up(kDecodeQueries * d, 16) + kDecodeQueries * kKeys + up(kKeys * d, 16); }
  DecodeScratch(float* memory, int64_t d) {
    Pieces p{memory};
    query = p.take(kDecodeQueries * d);
    scores = p.take(kDecodeQueries * kKeys);
    values = p.take(kKeys * d);
  }
};

// partial: kDecodeQueries x (max, sum, d outputs).
void attend_part(const Kernels& kn, const Heads& h, const AttentionPlan& plan, const DecodePart& part, float scale,
                 float* partial, const DecodeScratch& s) {
  const AttentionSpan& span = *part.span;
  const int64_t d = h.d, count = span.q_count * h.group, width = d + 2;
  for (int64_t i = 0; i < count; ++i) {
    kn.to_f32(row_address(h.q, span.q_begin + i % span.q_count, (part.kv_head * h.group + i / span.q_count) * d),
              h.q.dtype, s.query + i * d, d);
    kn.scale(scale, s.query + i * d, d);
    partial[i * width] = kNothing;
    std::fill(partial + i * width + 1, partial + (i + 1) * width, 0.0f);
  }
  std::vector<KvRange> pieces;
  for (int64_t b = part.begin; b < part.end; b += kKeys) {
    const int64_t n = std::min(kKeys, part.end - b);
    take_keys(plan, span, b, b + n, pieces);
    int64_t at = 0;
    for (const KvRange& piece : pieces) {
      kn.product.few(s.query, d, int(count), row_address(h.k, piece.begin, part.kv_head * d), h.k.dtype, h.k.stride[0],
                     d, 0, piece.count, s.scores + at, kKeys);
      for (int64_t j = 0; j < piece.count; ++j, ++at)
        kn.to_f32(row_address(h.v, piece.begin + j, part.kv_head * d), h.v.dtype, s.values + at * d, d);
    }
    for (int64_t i = 0; i < count; ++i) {
      float* scores = s.scores + i * kKeys;
      float* state = partial + i * width;
      const int64_t visible =
          span.causal ? std::clamp<int64_t>(part.keys - span.q_count + i % span.q_count + 1 - b, 0, n) : n;
      std::fill(scores + visible, scores + n, kNothing);
      std::fill_n(scores, std::clamp<int64_t>(hidden_keys(plan, span, i % span.q_count) - b, 0, n), kNothing);
      const float max = std::max(state[0], kn.max(scores, n));
      if (max == kNothing) {
        std::fill(scores, scores + n, 0.0f);
        continue;
      }
      const float correction = std::exp(state[0] - max);
      kn.exp_scaled(scores, max, 1.0f, 1.0f, scores, n);
      state[0] = max;
      state[1] = state[1] * correction + kn.sum(scores, n);
      if (correction != 1.0f) kn.scale(correction, state + 2, d);
    }
    kn.gemm_tile(count, d, n, s.scores, kKeys, 1, s.values, d, partial + 2, width, /*accumulate=*/true);
  }
}

void merge_parts(const Kernels& kn, const Heads& h, const DecodePart& first, const float* partial, int64_t parts,
                 int64_t stride, const Tensor& out, const Tensor* lse) {
  const AttentionSpan& span = *first.span;
  const int64_t d = h.d, width = d + 2;
  alignas(64) float sum_out[512];
  for (int64_t i = 0; i < span.q_count * h.group; ++i) {
    const int64_t row = span.q_begin + i % span.q_count, head = first.kv_head * h.group + i / span.q_count;
    float max = kNothing;
    for (int64_t p = 0; p < parts; ++p) max = std::max(max, partial[p * stride + i * width]);
    float sum = 0;
    for (int64_t p = 0; p < parts; ++p)
      sum += partial[p * stride + i * width + 1] * std::exp(partial[p * stride + i * width] - max);
    for (int64_t e = 0; e < d; e += 512) {
      const int64_t n = std::min<int64_t>(512, d - e);
      std::fill(sum_out, sum_out + n, 0.0f);
      for (int64_t p = 0; p < parts; ++p) {
        const float* state = partial + p * stride + i * width;
        kn.add_scaled(state + 2 + e, std::exp(state[0] - max) / sum, sum_out, n);
      }
      kn.from_f32(sum_out, row_address(out, row, head * d + e), out.dtype, n);
    }
    if (lse) lse->as<float>()[row * h.q.dim(1) + head] = max + std::log(sum);
  }
}

void attend_decode(Context& ctx, const Heads& h, const AttentionPlan& plan,
                   const std::vector<const AttentionSpan*>& spans, float scale, const Tensor& out, const Tensor* lse) {
  // Keys are cut into parts when there are few heads to share out; the cut depends on neither the threads nor the other
  // spans.
  constexpr int64_t kWantedParts = 64, kSmallestPart = 2 * kKeys;
  const Kernels& kn = kernels();
  const int64_t pairs = int64_t(spans.size()) * h.kv_heads();
  const int64_t wanted = std::max<int64_t>(1, kWantedParts / h.kv_heads());
  std::vector<DecodePart> parts;
  std::vector<int64_t> first_part;
  int64_t keys_in_all = 0;
  for (int64_t head = 0; head < h.kv_heads(); ++head)
    for (const AttentionSpan* span : spans) {
      const int64_t keys = num_keys(plan, *span), begin = hidden_keys(plan, *span, 0);
      const int64_t each = std::max(kSmallestPart, up((keys - begin + wanted - 1) / wanted, kKeys));
      first_part.push_back(int64_t(parts.size()));
      for (int64_t b = begin; b < keys; b += each) parts.push_back({span, head, keys, b, std::min(keys, b + each)});
      keys_in_all += keys - begin;
    }
  first_part.push_back(int64_t(parts.size()));
  const int64_t num_parts = int64_t(parts.size()), stride = up(kDecodeQueries * (h.d + 2), 16);
  const int threads = threads_for(ctx, num_parts, keys_in_all * h.d / num_parts);
  const int64_t scratch_floats = DecodeScratch::floats(h.d);
  float* partial =
      static_cast<float*>(ctx.workspace.get(size_t(num_parts * stride + threads * scratch_floats) * sizeof(float)));
  float* scratch = partial + num_parts * stride;
  parallel_items(threads, num_parts, [&](int thread, int64_t i) {
    attend_part(kn, h, plan, parts[size_t(i)], scale, partial + i * stride,
                DecodeScratch(scratch + thread * scratch_floats, h.d));
  });
  parallel_ranges(threads_for(ctx, pairs, h.group * h.d), pairs, 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t p = first_part[size_t(i)];
      merge_parts(kn, h, parts[size_t(p)], partial + p * stride, first_part[size_t(i) + 1] - p, stride, out, lse);
    }
  });
}

}  // namespace

std::vector<uint64_t> prepare_attention(Context&, const AttentionPlan&, DType, int64_t, int64_t, int64_t) { return {}; }

void attention(Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionPlan& plan, float scale,
               const Tensor& out, const Tensor* lse) {
  const Heads h(q, k, v);
  std::vector<const AttentionSpan*> tiled, decode;
  for (const AttentionSpan& s : plan.spans)
    (plan.is_decode && s.q_count * h.group <= kDecodeQueries ? decode : tiled).push_back(&s);
  if (!tiled.empty()) attend_tiled(ctx, h, plan, tiled, scale, out, lse);
  if (!decode.empty()) attend_decode(ctx, h, plan, decode, scale, out, lse);
}

namespace {

struct BackwardScratch {
  float *query_t, *query, *dout_t, *dout, *scores, *dscores, *dq, *lse, *delta;
  static int64_t floats(int64_t d) { return 5 * up(d * kQueries, 16) + 2 * kKeys * kQueries + 2 * kQueries; }
  BackwardScratch(float* memory, int64_t d) {
    Pieces p{memory};
    query_t = p.take(d * kQueries);
    query = p.take(d * kQueries);
    dout_t = p.take(d * kQueries);
    dout = p.take(d * kQueries);
    dq = p.take(d * kQueries);
    scores = p.take(kKeys * kQueries);
    dscores = p.take(kKeys * kQueries);
    lse = p.take(kQueries);
    delta = p.take(kQueries);
  }
};

struct Gradients {
  const Tensor &dout, &out, &lse, &dq;
};

// With P = exp(S - lse): dV += P^T dO, dS = P (dO V^T - rowsum(dO O)), dQ = scale dS K, dK += dS^T (scale Q).
void backward_tile(const Kernels& kn, const Heads& h, const AttentionPlan& plan, const PackedRows& rows,
                   const QueryTile& tile, int64_t kv_head, const float* keys, const float* values, float scale,
                   const Gradients& g, float* dk, float* dv, const BackwardScratch& s) {
  const int64_t d = h.d, ld = packed_stride(d), count = tile.count(), lanes = up(count, kn.lanes);
  pack_queries(kn, h.q, tile, kv_head, h.group, lanes, scale, s.query_t, s.query);
  pack_queries(kn, g.dout, tile, kv_head, h.group, lanes, 1.0f, s.dout_t, s.dout);
  std::fill(s.lse, s.lse + lanes, 0.0f);
  std::fill(s.delta, s.delta + lanes, 0.0f);
  const auto query_row = [&](int64_t i) { return tile.span->q_begin + tile.row + i % tile.rows; };
  const auto query_head = [&](int64_t i) { return kv_head * h.group + tile.head + i / tile.rows; };
  for (int64_t i = 0; i < count; ++i) {
    kn.to_f32(row_address(g.out, query_row(i), query_head(i) * d), g.out.dtype, s.dq + i * d, d);
    s.delta[i] = kn.dot(s.dq + i * d, s.dout + i * d, d);
    s.lse[i] = g.lse.as<float>()[query_row(i) * h.q.dim(1) + query_head(i)];
  }
  std::memset(s.dq, 0, size_t(count * d) * sizeof(float));
  const auto add_keys = [&](const KvRange& piece, int64_t visible, int64_t hidden) {
    const int64_t at = rows.at(piece.begin), n = piece.count;
    kn.gemm_tile(n, lanes, d, keys + at * ld, ld, 1, s.query_t, lanes, s.scores, lanes, false);
    mask(s.scores, tile, n, lanes, visible, hidden);
    kn.gemm_tile(n, lanes, d, values + at * ld, ld, 1, s.dout_t, lanes, s.dscores, lanes, false);
    kn.softmax_backward(s.scores, s.dscores, n, lanes, s.lse, s.delta);
    kn.gemm_tile(n, d, count, s.scores, lanes, 1, s.dout, d, dv + at * ld, ld, true);
    kn.gemm_tile(n, d, count, s.dscores, lanes, 1, s.query, d, dk + at * ld, ld, true);
    kn.gemm_tile(count, d, n, s.dscores, 1, lanes, keys + at * ld, ld, s.dq, d, true);
  };
  for_key_blocks(plan, tile, [&](const KeyBlock& block) {
    int64_t before = 0;
    for (const KvRange& piece : block.pieces) {
      add_keys(piece, block.visible - before, block.hidden - before);
      before += piece.count;
    }
  });
  for (int64_t i = 0; i < count; ++i) {
    kn.scale(scale, s.dq + i * d, d);
    kn.from_f32(s.dq + i * d, row_address(g.dq, query_row(i), query_head(i) * d), g.dq.dtype, d);
  }
}

// Sums the parts of one head's gradient, in their order, into its rows of dx.
void unpack_sum(const Kernels& kn, const float* const* parts, int64_t num_parts, int64_t head, const PackedRows& rows,
                int64_t begin, int64_t end, const Tensor& dx) {
  const int64_t d = dx.dim(2), ld = packed_stride(d);
  alignas(64) float sum[512];
  for (size_t i = 0; i < rows.intervals().size(); ++i) {
    const int64_t first = std::max(begin, rows.first(i)),
                  last = std::min(end, rows.first(i) + rows.intervals()[i].count);
    for (int64_t p = first; p < last; ++p)
      for (int64_t e = 0; e < d; e += 512) {
        const int64_t n = std::min<int64_t>(512, d - e);
        kn.to_f32(parts[0] + p * ld + e, DType::f32, sum, n);
        for (int64_t j = 1; j < num_parts; ++j) kn.add_scaled(parts[j] + p * ld + e, 1.0f, sum, n);
        kn.from_f32(sum, row_address(dx, rows.intervals()[i].begin + p - rows.first(i), head * d + e), dx.dtype, n);
      }
  }
}

void zero_rows(Context& ctx, const Tensor& x) {
  const size_t bytes = size_t(x.dim(1) * x.dim(2)) * dtype_size(x.dtype);
  parallel_ranges(threads_for(ctx, x.dim(0), x.dim(1) * x.dim(2)), x.dim(0), 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) std::memset(row_address(x, r), 0, bytes);
  });
}

}  // namespace

// One job is one key/value head, or a share of its query tiles when there are fewer heads than threads; a job owns its
// dk and dv.
void attention_backward(Context& ctx, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& out, const Tensor& lse, const AttentionPlan& plan, float scale, const Tensor& dq,
                        const Tensor& dk, const Tensor& dv) {
  const Kernels& kn = kernels();
  const Heads h(q, k, v);
  zero_rows(ctx, dk);
  zero_rows(ctx, dv);
  std::vector<const AttentionSpan*> spans;
  for (const AttentionSpan& s : plan.spans) spans.push_back(&s);
  if (spans.empty()) return;
  const PackedRows rows(plan, spans);
  const std::vector<QueryTile> tiles = query_tiles(spans, h.group);
  const int64_t num_tiles = int64_t(tiles.size());
  const int threads = threads_for(ctx, h.kv_heads() * num_tiles, rows.rows() * h.d);
  const int64_t shares = std::clamp<int64_t>((threads + h.kv_heads() - 1) / h.kv_heads(), 1, num_tiles);
  const int64_t per_head = rows.rows() * packed_stride(h.d), jobs = h.kv_heads() * shares;
  const int64_t slots = shares == 1 ? threads : jobs;  // a slot: keys, values, dk, dv
  const int64_t scratch_floats = BackwardScratch::floats(h.d);
  float* memory =
      static_cast<float*>(ctx.workspace.get(size_t(4 * slots * per_head + threads * scratch_floats) * sizeof(float)));
  float* scratch = memory + 4 * slots * per_head;
  const Gradients g{dout, out, lse, dq};
  parallel_items(threads, jobs, [&](int thread, int64_t job) {
    const int64_t head = job / shares, share = job % shares;
    float* keys = memory + (shares == 1 ? thread : job) * 4 * per_head;
    float *values = keys + per_head, *dkeys = values + per_head, *dvalues = dkeys + per_head;
    pack_rows(kn, k, head, rows, 0, rows.rows(), keys);
    pack_rows(kn, v, head, rows, 0, rows.rows(), values);
    std::memset(dkeys, 0, size_t(2 * per_head) * sizeof(float));
    for (int64_t t = share; t < num_tiles; t += shares)
      backward_tile(kn, h, plan, rows, tiles[size_t(t)], head, keys, values, scale, g, dkeys, dvalues,
                    BackwardScratch(scratch + thread * scratch_floats, h.d));
    if (shares > 1) return;
    unpack_sum(kn, &dkeys, 1, head, rows, 0, rows.rows(), dk);
    unpack_sum(kn, &dvalues, 1, head, rows, 0, rows.rows(), dv);
  });
  if (shares == 1) return;
  parallel_items(threads, h.kv_heads() * threads, [&](int, int64_t i) {
    const int64_t head = i / threads, begin = rows.rows() * (i % threads) / threads,
                  end = rows.rows() * (i % threads + 1) / threads;
    std::vector<const float*> parts_k, parts_v;
    for (int64_t share = 0; share < shares; ++share) {
      const float* slot = memory + (head * shares + share) * 4 * per_head;
      parts_k.push_back(slot + 2 * per_head);
      parts_v.push_back(slot + 3 * per_head);
    }
    unpack_sum(kn, parts_k.data(), shares, head, rows, begin, end, dk);
    unpack_sum(kn, parts_v.data(), shares, head, rows, begin, end, dv);
  });
}

}  // namespace vpref::cpu
