// SPDX-License-Identifier: Apache-2.0
#include "infer/forward.h"

#include <algorithm>
#include <cstring>

#include "core/memory.h"
#include "model/last_layer.h"
#include "model/linear.h"
#include "ops/log_softmax.h"
#include "ops/rms_norm.h"
#include "ops/rows.h"

namespace vpref {

void StepRows::add_segment(std::span<const int32_t> ids, int32_t first_position, std::span<const KvRange> ranges, std::span<const int32_t> wanted_rows) {
  const int32_t begin = int32_t(token_ids.size()), count = int32_t(ids.size());
  token_ids.insert(token_ids.end(), ids.begin(), ids.end());
  for (int32_t i = 0; i < count; ++i) positions.push_back(first_position + i);
  const int32_t first_range = int32_t(plan.ranges.size()), num_ranges = int32_t(ranges.size());
  plan.ranges.insert(plan.ranges.end(), ranges.begin(), ranges.end());
  plan.spans.push_back({begin, count, first_range, num_ranges, /*causal=*/true});
  for (size_t i = 0; i < wanted_rows.size();) {
    size_t end = i + 1;  // a run of neighbouring rows is one span
    while (end < wanted_rows.size() && wanted_rows[end] == wanted_rows[end - 1] + 1) ++end;
    const int32_t run = int32_t(end - i), last = wanted_rows[end - 1];
    int32_t span_first = first_range;
    if (last != count - 1) {  // the run ends before the segment does, so its last range is shorter
      span_first = int32_t(plan.ranges.size());
      plan.ranges.insert(plan.ranges.end(), ranges.begin(), ranges.end());
      plan.ranges.back().count -= count - 1 - last;
    }
    wanted_spans.push_back({int32_t(wanted.size()), run, span_first, num_ranges, /*causal=*/true});
    for (; i < end; ++i) wanted.push_back(begin + wanted_rows[i]);
  }
}

Forward::Forward(Context& ctx, const Model& model, int64_t max_rows) : ctx_(ctx), model_(model), head_rows_(model.device() == Device::cpu ? 64 : 512), max_rows_(max_rows), drawn_(model.device()) {
  const std::vector<float>& f = model.config.text.inv_freq;
  inv_freq_ = Buffer(model.device(), aligned(f.size() * 4));
  copy_to_device(ctx, inv_freq_.data(), f.data(), f.size() * 4);
}

size_t Forward::step_bytes(int64_t rows, int64_t wanted) const {
  const TextConfig& t = model_.config.text;
  const DType dtype = model_.compute();
  const size_t residuals = 2 * aligned(size_t(rows) * size_t(t.hidden_size) * dtype_size(dtype)) + aligned(size_t(wanted) * size_t(t.hidden_size) * dtype_size(dtype));
  const size_t indices = 8 * aligned(size_t(std::max(rows, 2 * wanted)) * 4);
  const size_t whole = decoder_scratch_bytes(model_.config, model_.weights, rows, dtype, /*backward=*/false);
  const size_t last = last_layer_scratch_bytes(model_.config, rows, wanted, dtype) +
                      aligned(size_t(rows) * size_t(max_rank()) * dtype_size(dtype));
  const size_t drawn = 2 * aligned(size_t(std::max<int64_t>(wanted, 4096)) * 4);  // branches of one prompt may outnumber its rows
  const int64_t head_rows = head_rows_;
  const size_t head = 3 * aligned(size_t(head_rows) * size_t(t.hidden_size) * dtype_size(dtype)) + aligned(size_t(head_rows) * size_t(t.vocab_size) * 4) +
                      aligned(size_t(head_rows) * size_t(max_rank()) * dtype_size(dtype)) + 4 * aligned(size_t(2 * wanted) * 4);
  return residuals + indices + drawn + std::max({whole, last, head}) + 64 * 64;
}

int64_t Forward::max_rank() const {
  int64_t rank = saved_rank(model_.weights.lm_head);
  for (const DecoderLayer& l : model_.weights.layers) {
    for (const Linear* p : {&l.q_proj, &l.k_proj, &l.v_proj, &l.o_proj, &l.gate_proj, &l.up_proj, &l.down_proj}) rank = std::max(rank, saved_rank(*p));
  }
  return rank;
}

void Forward::reserve(int64_t rows, int64_t wanted) {
  const size_t bytes = step_bytes(rows, wanted);
  if (arena_.capacity() < bytes) {
    arena_ = Arena();  // give the old slab back before taking the new one
    arena_ = Arena(model_.device(), bytes);
  }
  arena_.release(0);
}

Tensor Forward::upload(const std::vector<int32_t>& values, bool as_row) {
  const int64_t n = int64_t(values.size());
  const Tensor t = as_row ? arena_.tensor(DType::i32, {1, n}) : arena_.tensor(DType::i32, {n});
  copy_to_device(ctx_, t.data, values.data(), t.bytes());
  return t;
}

// Neighbours in both places go in one copy: while no branch ends that is all of them.
void Forward::place_drawn(const StepRows& rows, const Tensor& ids) {
  const std::vector<int32_t>& index = rows.drawn_index;
  for (size_t begin = 0; begin < index.size();) {
    size_t end = begin + 1;
    while (end < index.size() && index[begin] >= 0 && index[end] == index[end - 1] + 1) ++end;
    if (index[begin] >= 0) {
      const Tensor to = ids.rows(int64_t(begin), int64_t(end - begin)), from = rows.drawn->ids().rows(index[begin], int64_t(end - begin));
      copy_on_device(ctx_, to.data, from.data, to.bytes());
    }
    begin = end;
  }
}

Tensor Forward::run(const StepRows& rows, const KvSlab* slab) {
  const ModelConfig& config = model_.config;
  const Weights& weights = model_.weights;
  const DType dtype = model_.compute();
  const int64_t num_rows = rows.num_rows(), num_wanted = int64_t(rows.wanted.size()), d = config.text.hidden_size;
  // The first step takes the whole plan, so that a run that only trains takes nothing.
  reserve(std::max(num_rows, max_rows_), std::max(num_wanted, max_rows_));
  const Tensor out = num_wanted ? arena_.tensor(dtype, {num_wanted, d}) : Tensor();
  const size_t keep = arena_.mark();  // what stays valid after this call

  // Decoding wants every row: the last layer is then one like the others, and what it leaves to add is `out`.
  const bool all_wanted = num_wanted == num_rows;
  const Tensor x = arena_.tensor(dtype, {num_rows, d});
  Residual stream(x, all_wanted ? out : arena_.tensor(dtype, {num_rows, d}));
  const Tensor ids = upload(rows.token_ids);
  if (rows.drawn) place_drawn(rows, ids);
  embed(ctx_, weights, ids, ids, Tensor(), x);
  for (const ImagePiece& p : rows.images) {
    const Tensor to = x.rows(p.row, p.count);
    copy_on_device(ctx_, to.data, p.image->rows.rows(p.first, p.count).data, to.bytes());
  }
  const Tensor inv_freq(inv_freq_.data(), DType::f32, {int64_t(config.text.inv_freq.size())});
  const DecoderCall call{upload(rows.positions, true), inv_freq, &rows.plan};
  const Tensor kv_rows = slab ? upload(rows.kv_rows) : Tensor();
  const auto target = [&](size_t layer) { return slab ? KvTarget{slab->keys(layer), slab->values(layer), kv_rows} : KvTarget{}; };
  const size_t last = weights.layers.size() - 1;
  for (size_t l = 0; l < weights.layers.size(); ++l) {
    const KvTarget kv = target(l);
    // Of a chunk of a long prompt only keys and values are of use.
    if (l < last || all_wanted || num_wanted == 0) {
      decoder_layer(ctx_, config, weights.layers[l], call, stream, slab ? &kv : nullptr, nullptr, arena_);
      continue;
    }
    std::vector<int32_t> wanted_positions;
    for (const int32_t r : rows.wanted) wanted_positions.push_back(rows.positions[size_t(r)]);
    const AttentionPlan wanted_plan{rows.wanted_spans, rows.plan.ranges};
    DecoderCall last_call = call;
    last_call.plan = &wanted_plan;
    last_decoder_layer(ctx_, config, weights.layers[last], last_call, stream, slab ? &kv : nullptr, upload(rows.wanted), upload(wanted_positions, true), out, arena_);
  }
  if (all_wanted) stream.sum(ctx_);
  arena_.release(keep);
  return out;
}

// f32 logits [R,V] of residual rows; in the arena, the caller releases.
Tensor Forward::head(const Tensor& residual) {
  const TextConfig& t = model_.config.text;
  const Tensor normed = arena_.tensor(residual.dtype, {residual.dim(0), t.hidden_size});
  const Tensor out = arena_.tensor(DType::f32, {residual.dim(0), t.vocab_size});
  rms_norm(ctx_, residual, model_.weights.norm, t.rms_norm_eps, normed, nullptr);
  linear_forward(ctx_, model_.weights.lm_head, normed, out, arena_);
  return out;
}

Tensor Forward::gather(const Tensor& residual, std::span<const int32_t> rows) {
  const Tensor out = arena_.tensor(residual.dtype, {int64_t(rows.size()), residual.dim(1)});
  gather_rows(ctx_, residual, upload({rows.begin(), rows.end()}), out);
  return out;
}

void Forward::logits(const Tensor& residual, int64_t begin, int64_t count, std::vector<float>& out) {
  const int64_t vocab = model_.config.text.vocab_size;
  out.resize(size_t(count * vocab));
  for (int64_t at = 0; at < count; at += head_rows_) {
    const size_t mark = arena_.mark();
    const Tensor chunk = head(residual.rows(begin + at, std::min(head_rows_, count - at)));
    copy_to_host(ctx_, out.data() + at * vocab, chunk.data, chunk.bytes());
    arena_.release(mark);
  }
}

void Forward::sample(const Tensor& residual, const std::vector<SampleParams>& params, std::span<const int32_t> rows, std::vector<int32_t>& tokens,
                     std::vector<float>& logps) {
  sample_later(residual, params, rows, drawn_);
  read(drawn_, tokens, logps);
}

void Forward::sample_later(const Tensor& residual, const std::vector<SampleParams>& params, std::span<const int32_t> rows, DrawnTokens& drawn) {
  const int64_t total = int64_t(rows.size());
  const size_t bytes = rows.size() * 2 * sizeof(int32_t);
  if (drawn.memory.bytes() < bytes) drawn.memory = Buffer(model_.device(), bytes);
  drawn.count = total;
  if (total == 0) return;
  const Tensor token = drawn.ids(), logp(token.as<int32_t>() + total, DType::f32, {total});
  for (int64_t begin = 0; begin < total; begin += head_rows_) {
    const int64_t count = std::min(head_rows_, total - begin);
    const size_t mark = arena_.mark();
    const Tensor chunk = head(gather(residual, rows.subspan(size_t(begin), size_t(count))));
    sample_token(ctx_, chunk, {params.begin() + begin, params.begin() + begin + count}, token.rows(begin, count), logp.rows(begin, count));
    arena_.release(mark);
  }
  drawn.download.start(ctx_, drawn.memory.data(), bytes);  // one copy brings both
}

void Forward::read(DrawnTokens& drawn, std::vector<int32_t>& tokens, std::vector<float>& logps) {
  tokens.resize(size_t(drawn.count));
  logps.resize(size_t(drawn.count));
  if (drawn.count == 0) return;
  const char* host = static_cast<const char*>(drawn.download.wait());
  std::memcpy(tokens.data(), host, tokens.size() * sizeof(int32_t));
  std::memcpy(logps.data(), host + tokens.size() * sizeof(int32_t), logps.size() * sizeof(float));
}

void Forward::score(const Tensor& residual, std::span<const int32_t> rows, std::span<const int32_t> targets, std::vector<float>& logps) {
  const int64_t total = int64_t(rows.size());
  const size_t start = arena_.mark();
  const Tensor logp = arena_.tensor(DType::f32, {total});
  for (int64_t begin = 0; begin < total; begin += head_rows_) {
    const int64_t count = std::min(head_rows_, total - begin);
    const size_t mark = arena_.mark();
    const Tensor chunk = head(gather(residual, rows.subspan(size_t(begin), size_t(count))));
    log_softmax_gather(ctx_, chunk, upload({targets.begin() + begin, targets.begin() + begin + count}), logp.rows(begin, count));
    arena_.release(mark);
  }
  logps.resize(rows.size());
  copy_to_host(ctx_, logps.data(), logp.data, logp.bytes());
  arena_.release(start);
}

}  // namespace vpref
