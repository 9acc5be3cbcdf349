// SPDX-License-Identifier: Apache-2.0
// Backward of tiled attention. Scores are recomputed, one tile of queries and one range of keys at a time.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "backend/cpu/attention_tile.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"
#include "ops/attention.h"

namespace vpref::cpu {
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

// Inputs of a query row, and the destination of its gradient.
struct QueryGradients {
  const Tensor &dout, &out, &lse, &dq;
};

// With P = exp(S - lse): dV += P^T dO, dS = P (dO V^T - rowsum(dO O)), dQ = scale dS K, dK += dS^T (scale Q).
void backward_tile(const AttentionCall& call, const QueryBlock& tile, const PackedHead& head, const QueryGradients& g,
                   float* dk, float* dv, const BackwardScratch& s) {
  const Kernels& kn = call.kn;
  const int64_t d = call.d, ld = packed_stride(d), count = tile.count(), lanes = tile_lanes(call, tile);
  pack_queries(call, call.q, tile, head.head, call.scale, s.query_t, s.query);
  pack_queries(call, g.dout, tile, head.head, 1.0f, s.dout_t, s.dout);
  std::fill(s.lse, s.lse + lanes, 0.0f);
  std::fill(s.delta, s.delta + lanes, 0.0f);
  const auto query_row = [&](int64_t i) { return tile.span->q_begin + tile.row + i % tile.rows; };
  const auto query_head = [&](int64_t i) { return head.head * call.group + tile.head + i / tile.rows; };
  for (int64_t i = 0; i < count; ++i) {
    kn.to_f32(row_address(g.out, query_row(i), query_head(i) * d), g.out.dtype, s.dq + i * d, d);
    s.delta[i] = kn.dot(s.dq + i * d, s.dout + i * d, d);
    s.lse[i] = g.lse.as<float>()[query_row(i) * call.q.dim(1) + query_head(i)];
  }
  std::memset(s.dq, 0, size_t(count * d) * sizeof(float));
  const auto add_keys = [&](const KvRange& piece, int64_t visible, int64_t hidden) {
    const int64_t at = head.rows.at(piece.begin), n = piece.count;
    const Rows<const float> keys{head.keys + at * ld, ld}, values{head.values + at * ld, ld};
    kn.gemm_tile(n, lanes, d, {keys.data, ld, 1}, {s.query_t, lanes}, {s.scores, lanes}, false);
    mask(s.scores, tile, n, lanes, visible, hidden);
    kn.gemm_tile(n, lanes, d, {values.data, ld, 1}, {s.dout_t, lanes}, {s.dscores, lanes}, false);
    kn.softmax_backward(s.scores, s.dscores, n, lanes, s.lse, s.delta);
    kn.gemm_tile(n, d, count, {s.scores, lanes, 1}, {s.dout, d}, {dv + at * ld, ld}, true);
    kn.gemm_tile(n, d, count, {s.dscores, lanes, 1}, {s.query, d}, {dk + at * ld, ld}, true);
    kn.gemm_tile(count, d, n, {s.dscores, 1, lanes}, keys, {s.dq, d}, true);
  };
  for_key_blocks(call.plan, tile, [&](const KeyBlock& block) {
    int64_t before = 0;
    for (const KvRange& piece : block.pieces) {
      add_keys(piece, block.visible - before, block.hidden - before);
      before += piece.count;
    }
  });
  for (int64_t i = 0; i < count; ++i) {
    kn.scale(call.scale, s.dq + i * d, d);
    kn.from_f32(s.dq + i * d, row_address(g.dq, query_row(i), query_head(i) * d), g.dq.dtype, d);
  }
}

// Adds the partial gradients of one head, in order, to its rows of dx.
void unpack_sum(const Kernels& kn, std::span<const float* const> parts, int64_t head, const PackedRows& rows,
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
        for (size_t j = 1; j < parts.size(); ++j) kn.add_scaled(parts[j] + p * ld + e, 1.0f, sum, n);
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

// A job is one key/value head, or a share of its query tiles if there are fewer heads than threads. Each job has its
// own dk and dv.
void attention_backward(Context& ctx, const Tensor& dout, const Qkv& x, const AttentionOutput& forward,
                        const AttentionPlan& plan, float scale, const Qkv& dx) {
  const AttentionCall call(x, plan, scale);
  const Kernels& kn = call.kn;
  zero_rows(ctx, dx.k);
  zero_rows(ctx, dx.v);
  std::vector<const AttentionSpan*> spans;
  for (const AttentionSpan& s : plan.spans) spans.push_back(&s);
  if (spans.empty()) return;
  const PackedRows rows(plan, spans);
  const std::vector<QueryBlock> tiles = query_blocks(spans, call.group);
  const int64_t num_tiles = int64_t(tiles.size());
  const int threads = threads_for(ctx, call.kv_heads() * num_tiles, rows.rows() * call.d);
  const int64_t shares = std::clamp<int64_t>((threads + call.kv_heads() - 1) / call.kv_heads(), 1, num_tiles);
  const int64_t per_head = rows.rows() * packed_stride(call.d), jobs = call.kv_heads() * shares;
  const int64_t slots = shares == 1 ? threads : jobs;  // a slot holds keys, values, dk, dv
  const int64_t scratch_floats = BackwardScratch::floats(call.d);
  float* memory =
      static_cast<float*>(ctx.workspace.get(size_t(4 * slots * per_head + threads * scratch_floats) * sizeof(float)));
  float* scratch = memory + 4 * slots * per_head;
  const QueryGradients g{dout, forward.out, forward.lse, dx.q};
  parallel_items(threads, jobs, [&](int thread, int64_t job) {
    const int64_t head = job / shares, share = job % shares;
    float* keys = memory + (shares == 1 ? thread : job) * 4 * per_head;
    float *values = keys + per_head, *dkeys = values + per_head, *dvalues = dkeys + per_head;
    pack_rows(kn, x.k, head, rows, 0, rows.rows(), keys);
    pack_rows(kn, x.v, head, rows, 0, rows.rows(), values);
    std::memset(dkeys, 0, size_t(2 * per_head) * sizeof(float));
    for (int64_t t = share; t < num_tiles; t += shares)
      backward_tile(call, tiles[size_t(t)], {head, rows, keys, values}, g, dkeys, dvalues,
                    BackwardScratch(scratch + thread * scratch_floats, call.d));
    if (shares > 1) return;
    unpack_sum(kn, std::array<const float*, 1>{dkeys}, head, rows, 0, rows.rows(), dx.k);
    unpack_sum(kn, std::array<const float*, 1>{dvalues}, head, rows, 0, rows.rows(), dx.v);
  });
  if (shares == 1) return;
  parallel_items(threads, call.kv_heads() * threads, [&](int, int64_t i) {
    const int64_t head = i / threads, begin = rows.rows() * (i % threads) / threads,
                  end = rows.rows() * (i % threads + 1) / threads;
    std::vector<const float*> parts_k, parts_v;
    for (int64_t share = 0; share < shares; ++share) {
      const float* slot = memory + (head * shares + share) * 4 * per_head;
      parts_k.push_back(slot + 2 * per_head);
      parts_v.push_back(slot + 3 * per_head);
    }
    unpack_sum(kn, parts_k, head, rows, begin, end, dx.k);
    unpack_sum(kn, parts_v, head, rows, begin, end, dx.v);
  });
}

}  // namespace vpref::cpu
