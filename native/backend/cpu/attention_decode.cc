// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/attention_decode.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/parallel.h"
#include "backend/cpu/row.h"

namespace vpref::cpu {
namespace {

// One part of the keys of one span and key/value head. The parts' results are merged by their log-sum-exp.
struct DecodePart {
  const AttentionSpan* span;
  int64_t kv_head, keys, begin, end;  // this part of all keys of the span
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
void attend_part(const AttentionCall& call, const DecodePart& part, float* partial, const DecodeScratch& s) {
  const Kernels& kn = call.kn;
  const AttentionSpan& span = *part.span;
  const int64_t d = call.d, count = span.q_count * call.group, width = d + 2;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = span.q_begin + i % span.q_count, head = part.kv_head * call.group + i / span.q_count;
    kn.to_f32(row_address(call.q, row, head * d), call.q.dtype, s.query + i * d, d);
    kn.scale(call.scale, s.query + i * d, d);
    partial[i * width] = kNothing;
    std::fill(partial + i * width + 1, partial + (i + 1) * width, 0.0f);
  }
  std::vector<KvRange> pieces;
  for (int64_t b = part.begin; b < part.end; b += kKeys) {
    const int64_t n = std::min(kKeys, part.end - b);
    take_keys(call.plan, span, b, b + n, pieces);
    // Values that lie together in f32 are read where they are.
    const bool in_place = pieces.size() == 1 && call.v.dtype == DType::f32;
    int64_t at = 0;
    for (const KvRange& piece : pieces) {
      const WeightRows keys{row_address(call.k, piece.begin, part.kv_head * d), call.k.dtype, call.k.stride[0]};
      kn.product.skinny({s.query, d}, int(count), keys, d, 0, piece.count, {s.scores + at, kKeys});
      for (int64_t j = 0; !in_place && j < piece.count; ++j)
        kn.to_f32(row_address(call.v, piece.begin + j, part.kv_head * d), call.v.dtype, s.values + (at + j) * d, d);
      at += piece.count;
    }
    for (int64_t i = 0; i < count; ++i) {
      float* scores = s.scores + i * kKeys;
      float* state = partial + i * width;
      const int64_t visible =
          span.causal ? std::clamp<int64_t>(part.keys - span.q_count + i % span.q_count + 1 - b, 0, n) : n;
      std::fill(scores + visible, scores + n, kNothing);
      std::fill_n(scores, std::clamp<int64_t>(hidden_keys(call.plan, span, i % span.q_count) - b, 0, n), kNothing);
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
    const Rows<const float> values =
        in_place
            ? Rows<const float>{reinterpret_cast<const float*>(row_address(call.v, pieces[0].begin, part.kv_head * d)),
                                call.v.stride[0]}
            : Rows<const float>{s.values, d};
    kn.gemm_tile(count, d, n, {s.scores, kKeys, 1}, values, {partial + 2, width}, /*accumulate=*/true);
  }
}

// Merges `parts` partial results of one span and head, `stride` apart.
void merge_parts(const AttentionCall& call, const DecodePart& first, const float* partial, int64_t parts,
                 int64_t stride, const AttentionOutput& to) {
  const Kernels& kn = call.kn;
  const AttentionSpan& span = *first.span;
  const int64_t d = call.d, width = d + 2;
  alignas(64) float sum_out[512];
  for (int64_t i = 0; i < span.q_count * call.group; ++i) {
    const int64_t row = span.q_begin + i % span.q_count, head = first.kv_head * call.group + i / span.q_count;
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

}  // namespace

void attend_decode(Context& ctx, const AttentionCall& call, const std::vector<const AttentionSpan*>& spans,
                   const AttentionOutput& to) {
  // Keys are cut into parts if there are few heads. The cut depends neither on the threads nor on the other spans.
  constexpr int64_t kWantedParts = 64, kMinPart = 2 * kKeys;
  const int64_t pairs = int64_t(spans.size()) * call.kv_heads();
  const int64_t wanted = std::max<int64_t>(1, kWantedParts / call.kv_heads());
  std::vector<DecodePart> parts;
  std::vector<int64_t> first_part;
  int64_t keys_in_all = 0;
  for (int64_t head = 0; head < call.kv_heads(); ++head)
    for (const AttentionSpan* span : spans) {
      const int64_t keys = num_keys(call.plan, *span), begin = hidden_keys(call.plan, *span, 0);
      const int64_t each = std::max(kMinPart, up((keys - begin + wanted - 1) / wanted, kKeys));
      first_part.push_back(int64_t(parts.size()));
      for (int64_t b = begin; b < keys; b += each) parts.push_back({span, head, keys, b, std::min(keys, b + each)});
      keys_in_all += keys - begin;
    }
  first_part.push_back(int64_t(parts.size()));
  const int64_t num_parts = int64_t(parts.size()), stride = up(kDecodeQueries * (call.d + 2), 16);
  const int threads = threads_for(ctx, num_parts, keys_in_all * call.d / num_parts);
  const int64_t scratch_floats = DecodeScratch::floats(call.d);
  float* partial =
      static_cast<float*>(ctx.workspace.get(size_t(num_parts * stride + threads * scratch_floats) * sizeof(float)));
  float* scratch = partial + num_parts * stride;
  parallel_items(threads, num_parts, [&](int thread, int64_t i) {
    attend_part(call, parts[size_t(i)], partial + i * stride, DecodeScratch(scratch + thread * scratch_floats, call.d));
  });
  parallel_ranges(threads_for(ctx, pairs, call.group * call.d), pairs, 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t p = first_part[size_t(i)];
      merge_parts(call, parts[size_t(p)], partial + p * stride, first_part[size_t(i) + 1] - p, stride, to);
    }
  });
}

}  // namespace vpref::cpu
