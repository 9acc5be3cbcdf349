// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/attention_decode.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {
namespace {

// One part of a span's keys. The parts' results are merged by their log-sum-exp.
struct DecodePart {
  const AttentionSpan* span;
  int64_t keys, begin, end;  // this part of all keys of the span
};

// Adjacent key/value heads: their keys are read together.
struct HeadRange {
  int64_t begin, end;
};

// At most kKeys keys of a part, of all keys from `begin` on: their rows, and the rows' values.
struct KeyRows {
  int64_t begin, count;
  std::vector<KvRange> pieces;
  const void* values[kKeys];
};

// Requests columns [begin, end) of rows. A head's part of a row is too short for the hardware to read ahead. Inline,
// because compilers drop calls of functions that only prefetch.
__attribute__((always_inline)) inline void prefetch_rows(const Tensor& t, const KvRange& rows, int64_t begin,
                                                         int64_t end) {
  constexpr int64_t kLine = 64;
  const int64_t bytes = (end - begin) * int64_t(dtype_size(t.dtype));
  for (int64_t row = rows.begin; row < rows.begin + rows.count; ++row) {
    const char* at = row_address(t, row, begin);
    for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(at + i, 0, 2);
  }
}

// Adds keys of the part to a head's outputs, kDecodeQueries x (max, sum, d outputs).
void attend_keys(const AttentionCall& call, const DecodePart& part, const KeyRows& rows, int64_t kv_head,
                 const float* query, float* outputs) {
  const Kernels& kn = call.kn;
  const AttentionSpan& span = *part.span;
  const int64_t d = call.d, count = span.q_count * call.group, width = d + 2, n = rows.count;
  alignas(64) float all_scores[kDecodeQueries * kKeys];
  int64_t at = 0;
  for (const KvRange& piece : rows.pieces) {
    const WeightRows keys{row_address(call.k, piece.begin, kv_head * d), call.k.dtype, call.k.stride[0]};
    kn.product.skinny({query, d}, int(count), keys, d, 0, piece.count, {all_scores + at, kKeys});
    at += piece.count;
  }
  for (int64_t i = 0; i < count; ++i) {
    float* scores = all_scores + i * kKeys;
    float* state = outputs + i * width;
    const int64_t hidden = hidden_keys(call.plan, span, i % span.q_count) - rows.begin;
    const int64_t visible =
        span.causal ? std::clamp<int64_t>(part.keys - span.q_count + i % span.q_count + 1 - rows.begin, 0, n) : n;
    std::fill(scores + visible, scores + n, kNothing);
    std::fill_n(scores, std::clamp<int64_t>(hidden, 0, n), kNothing);
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
  kn.weighted_sums(count, d, n, {all_scores, kKeys}, {rows.values, call.v.dtype, kv_head * d}, {outputs + 2, width});
}

// partial: outputs of the first head; a head's are `stride` after those of the one before. queries: kDecodeQueries x d
// for each head, as scratch.
void attend_part(const AttentionCall& call, const DecodePart& part, HeadRange heads, float* partial, int64_t stride,
                 float* queries) {
  const Kernels& kn = call.kn;
  const AttentionSpan& span = *part.span;
  const int64_t d = call.d, count = span.q_count * call.group, width = d + 2;
  const auto query = [&](int64_t head) { return queries + (head - heads.begin) * kDecodeQueries * d; };
  const auto outputs = [&](int64_t head) { return partial + (head - heads.begin) * stride; };
  for (int64_t kv_head = heads.begin; kv_head < heads.end; ++kv_head)
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = span.q_begin + i % span.q_count, head = kv_head * call.group + i / span.q_count;
      float *q = query(kv_head) + i * d, *state = outputs(kv_head) + i * width;
      kn.to_f32(row_address(call.q, row, head * d), call.q.dtype, q, d);
      kn.scale(call.scale, q, d);
      state[0] = kNothing;
      std::fill(state + 1, state + width, 0.0f);
    }
  KeyRows rows;
  for (rows.begin = part.begin; rows.begin < part.end; rows.begin += kKeys) {
    rows.count = std::min(kKeys, part.end - rows.begin);
    take_keys(call.plan, span, rows.begin, rows.begin + rows.count, rows.pieces);
    for (const Tensor* side : {&call.k, &call.v})
      for (const KvRange& piece : rows.pieces) prefetch_rows(*side, piece, heads.begin * d, heads.end * d);
    int64_t at = 0;
    for (const KvRange& piece : rows.pieces)
      for (int32_t j = 0; j < piece.count; ++j) rows.values[at++] = row_address(call.v, piece.begin + j);
    for (int64_t head = heads.begin; head < heads.end; ++head)
      attend_keys(call, part, rows, head, query(head), outputs(head));
  }
}

// Merges `parts` partial results of one span and head, `stride` apart.
void merge_parts(const AttentionCall& call, const AttentionSpan& span, int64_t kv_head, const float* partial,
                 int64_t parts, int64_t stride, const AttentionOutput& to) {
  const Kernels& kn = call.kn;
  const int64_t d = call.d, width = d + 2;
  alignas(64) float sum_out[512];
  for (int64_t i = 0; i < span.q_count * call.group; ++i) {
    const int64_t row = span.q_begin + i % span.q_count, head = kv_head * call.group + i / span.q_count;
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
      kn.from_f32(sum_out, row_address(to.out, row, head * d + e), to.out.dtype, n);
    }
    if (to.lse) to.lse.as<float>()[row * call.q.dim(1) + head] = max + std::log(sum);
  }
}

// Heads are read together, so that rows are read in long pieces: as many as leave work for all threads, and whose block
// of keys and values stays in the second-level cache.
int64_t head_groups(const Context& ctx, const AttentionCall& call, int64_t num_parts) {
  constexpr int64_t kBlockBytes = 256 << 10, kItemsPerThread = 3;
  const int64_t bytes = 2 * kKeys * call.k.dim(1) * call.d * int64_t(dtype_size(call.k.dtype));
  const int64_t items = kItemsPerThread * ctx.num_threads;
  const int64_t groups = std::max((bytes + kBlockBytes - 1) / kBlockBytes, (items + num_parts - 1) / num_parts);
  return std::min(groups, call.kv_heads());
}

}  // namespace

void attend_decode(Context& ctx, const AttentionCall& call, const std::vector<const AttentionSpan*>& spans,
                   const AttentionOutput& to) {
  // Keys are cut into parts if there are few heads. The cut depends neither on the threads nor on the other spans.
  constexpr int64_t kWantedParts = 64, kMinPart = 2 * kKeys;
  const int64_t kv_heads = call.kv_heads(), pairs = int64_t(spans.size()) * kv_heads;
  const int64_t wanted = std::max<int64_t>(1, kWantedParts / kv_heads);
  std::vector<DecodePart> parts;
  std::vector<int64_t> first_part;
  int64_t keys_in_all = 0;
  for (const AttentionSpan* span : spans) {
    const int64_t keys = num_keys(call.plan, *span), begin = hidden_keys(call.plan, *span, 0);
    const int64_t each = std::max(kMinPart, up((keys - begin + wanted - 1) / wanted, kKeys));
    first_part.push_back(int64_t(parts.size()));
    for (int64_t b = begin; b < keys; b += each) parts.push_back({span, keys, b, std::min(keys, b + each)});
    keys_in_all += keys - begin;
  }
  first_part.push_back(int64_t(parts.size()));
  const int64_t num_parts = int64_t(parts.size());
  // Spans with the same first keys follow each other, so that later ones find these keys in cache.
  std::vector<int64_t> order(parts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return parts[size_t(a)].begin < parts[size_t(b)].begin; });
  const int64_t groups = head_groups(ctx, call, num_parts), items = groups * num_parts;
  const int64_t most_heads = (kv_heads + groups - 1) / groups;
  const int threads = threads_for(ctx, items, keys_in_all * kv_heads * call.d / items);
  const int64_t floats = up(kDecodeQueries * (call.d + 2), 16),
                query_floats = up(most_heads * kDecodeQueries * call.d, 16);
  float* partial = static_cast<float*>(
      ctx.workspace.get(size_t(kv_heads * num_parts * floats + threads * query_floats) * sizeof(float)));
  float* queries = partial + kv_heads * num_parts * floats;
  const auto partial_at = [&](int64_t head, int64_t part) { return partial + (head * num_parts + part) * floats; };
  parallel_items(threads, items, [&](int thread, int64_t i) {
    const int64_t group = i / num_parts, part = order[size_t(i % num_parts)];
    const HeadRange heads{kv_heads * group / groups, kv_heads * (group + 1) / groups};
    attend_part(call, parts[size_t(part)], heads, partial_at(heads.begin, part), num_parts * floats,
                queries + thread * query_floats);
  });
  parallel_ranges(threads_for(ctx, pairs, call.group * call.d), pairs, 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const size_t span = size_t(i) % spans.size();
      const int64_t head = i / int64_t(spans.size()), first = first_part[span];
      merge_parts(call, *spans[span], head, partial_at(head, first), first_part[span + 1] - first, floats, to);
    }
  });
}

}  // namespace vpref::cpu
