// SPDX-License-Identifier: Apache-2.0
#include "infer/forward.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <set>

#include "core/memory.h"
#include "model/linear.h"
#include "ops/attention.h"
#include "ops/log_softmax.h"
#include "ops/rms_norm.h"
#include "ops/rows.h"

namespace vpref {

namespace {

constexpr int64_t kMaxSampled =
    4096;  // tokens of one draw: the branches that one request may have, or more requests together have at most

// A number that changes with where the weights stand and which adapters are on, with what scale.
class WeightState {
 public:
  explicit WeightState(const Weights& w) {
    add(w.embed_tokens);
    for (const DecoderLayer& l : w.layers) {
      add(l.input_layernorm), add(l.post_attention_layernorm), add(l.q_norm), add(l.k_norm);
      for (const Linear& linear : l.linears) add(linear);
    }
    add(w.norm);
    add(w.lm_head);
  }
  uint64_t value() const { return value_; }

 private:
  void add(uint64_t word) {
    value_ = (value_ ^ word) * 0x9E3779B97F4A7C15u;
    value_ ^= value_ >> 29;
  }
  void add(const Tensor& t) {
    add(uint64_t(reinterpret_cast<uintptr_t>(t.data))), add(uint64_t(t.rank > 0 ? t.dim(0) : 0));
  }
  void add(const Linear& l) {
    add(l.weight), add(l.bias), add(l.packed.codes);
    for (const LoraPair& p : l.adapters)
      add(p.a), add(p.b), add(uint64_t(std::bit_cast<uint32_t>(p.scale))), add(uint64_t(p.enabled));
  }
  uint64_t value_ = 1;
};

}  // namespace

void StepRows::add_segment(std::span<const int32_t> ids, std::span<const KvRange> ranges,
                           std::span<const int32_t> wanted_rows, int32_t path) {
  const int32_t begin = int32_t(token_ids.size()), count = int32_t(ids.size());
  token_ids.insert(token_ids.end(), ids.begin(), ids.end());
  const int32_t first_range = int32_t(plan.ranges.size()), num_ranges = int32_t(ranges.size());
  plan.ranges.insert(plan.ranges.end(), ranges.begin(), ranges.end());
  plan.spans.push_back({begin, count, first_range, num_ranges, /*causal=*/true, path});
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
    wanted_spans.push_back({int32_t(wanted.size()), run, span_first, num_ranges, /*causal=*/true, path});
    for (; i < end; ++i) wanted.push_back(begin + wanted_rows[i]);
  }
}

StepRows::StepRows(const TreeBatch& tree) : positions(tree.positions) {
  const std::set<int32_t> predictors(tree.target_rows.begin(), tree.target_rows.end());
  plan.paths = key_paths(tree);
  for (size_t i = 0; i < tree.segments.size(); ++i) {
    const Segment& s = tree.segments[i];
    if (s.row_count == 0) continue;
    KvRanges seen;
    for (const KvRange& r : s.ranges) append(seen, r);
    std::vector<int32_t> own;
    const auto end = predictors.lower_bound(s.row_begin + s.row_count);
    for (auto row = predictors.lower_bound(s.row_begin); row != end; ++row) own.push_back(*row - s.row_begin);
    add_segment(std::span(tree.token_ids).subspan(size_t(s.row_begin), size_t(s.row_count)), seen, own, int32_t(i));
  }
}

Forward::Forward(Context& ctx, const Model& model, int64_t max_rows, bool launch_graphs)
    : ctx_(ctx),
      model_(model),
      head_rows_(model.device() == Device::cpu ? 64 : 512),
      max_rows_(max_rows),
      rope_(ctx, model.config.text),
      graphs_(model.device(), launch_graphs) {
  drawn_memory_ = Buffer(model.device(), size_t(kMaxSampled) * 2 * sizeof(int32_t));
}

// Any rows and addresses do: what a step takes follows from its size alone.
size_t Forward::measure(const StepSize& size) {
  const std::vector<int32_t> ids(size_t(size.rows), 0);
  std::vector<int32_t> wanted(size_t(size.wanted), 0);
  std::iota(wanted.begin(), wanted.end(), 0);
  const KvRange all[] = {{0, int32_t(size.rows)}};
  StepRows step(model_.config.text.num_position_axes);
  for (int64_t i = 0; i < size.rows; ++i) step.positions.add(0);
  step.add_segment(ids, all, wanted, -1);
  step.kv_rows = ids;
  DrawnTokens drawn(model_.device());
  std::vector<float> logps;

  const Measure measured(ctx_, arena_);
  const KvCache kv_cache = KvCache::measuring(model_.config, model_.compute(), size.rows);
  const auto zeros = [](int64_t count) { return std::vector<int32_t>(size_t(count), 0); };
  if (size.decodes) {
    draw_next(step, kv_cache, std::vector<SampleParams>(size_t(size.rows)), drawn);
    return measured.bytes();
  }
  const Tensor residual = walk(step, size.cached ? &kv_cache : nullptr);
  const auto [num_drawn, num_scored, num_read] = size.outputs;
  sample(residual, std::vector<SampleParams>(size_t(num_drawn)), zeros(num_drawn), drawn);
  score(residual, zeros(num_scored), zeros(num_scored), logps);
  if (num_read > 0) head(residual.rows(0, std::min(num_read, head_rows_)));  // logits() at its largest
  return measured.bytes();
}

size_t Forward::measure_plan(int64_t rows) {
  const int64_t drawn = std::min(rows, kMaxSampled);
  const StepOutputs outputs = {.drawn = drawn, .scored = rows, .read = rows};
  const StepSize all = {.rows = rows, .wanted = rows, .cached = true, .outputs = outputs};
  StepSize most = all;  // the wanted rows have a stream of their own in the last layer
  most.wanted = most.outputs.read = std::max<int64_t>(1, rows - 1);
  return std::max({measure(all), measure(most), measure({.rows = drawn, .wanted = drawn, .decodes = true})});
}

// From below: measuring takes the longer the more rows there are.
size_t Forward::plan_bytes() {
  if (plan_bytes_ > 0) return plan_bytes_;
  const size_t total = memory_size(model_.device()).total;
  for (int64_t rows = std::min<int64_t>(max_rows_, 1 << 16); plan_bytes_ == 0; rows = std::min(max_rows_, 2 * rows)) {
    const size_t bytes = measure_plan(rows);
    if (rows == max_rows_) plan_bytes_ = bytes;
    check(bytes <= total, "memory", "a step of ", max_rows_, " rows takes ", bytes, " bytes",
          rows < max_rows_ ? " and more" : "", ", there are ", total, ": lower --batch-tokens");
  }
  return plan_bytes_;
}

void Forward::forget_plan() {
  plan_bytes_ = 0;
  larger_ = {};
}

void Forward::reserve(const StepSize& size) {
  size_t bytes = plan_bytes();
  const auto [drawn, scored, read] = size.outputs;
  if (std::max({size.rows, drawn, scored, read}) > max_rows_) {
    if (size != larger_) larger_bytes_ = measure(size);
    larger_ = size;
    bytes = std::max(bytes, larger_bytes_);
  }
  if (arena_.capacity() < bytes) {
    arena_ = Arena();  // give the old slab back before taking the new one
    arena_ = Arena(model_.device(), bytes);
  }
  arena_.release(0);
}

Tensor Forward::upload(const std::vector<int32_t>& values) {
  const Tensor t = arena_.tensor(DType::i32, {int64_t(values.size())});
  copy_to_device(ctx_, t.data, values.data(), t.bytes());
  return t;
}

Tensor Forward::upload(const Positions& positions) {
  return upload(positions.by_axis()).reshaped({positions.num_axes(), positions.size()});
}

// One copy brings all of them.
std::vector<Tensor> Forward::upload_together(std::initializer_list<const std::vector<int32_t>*> lists) {
  constexpr size_t kUnit = aligned(1) / sizeof(int32_t);
  std::vector<int32_t> host;
  for (const std::vector<int32_t>* l : lists) {
    host.insert(host.end(), l->begin(), l->end());
    host.resize((host.size() + kUnit - 1) / kUnit * kUnit);
  }
  const Tensor all = upload(host);
  std::vector<Tensor> out;
  int64_t at = 0;
  for (const std::vector<int32_t>* l : lists) {
    out.push_back(all.rows(at, int64_t(l->size())));
    at += int64_t((l->size() + kUnit - 1) / kUnit * kUnit);
  }
  return out;
}

// Neighbours in both places go in one copy: while no branch ends that is all of them.
void Forward::place_drawn(const std::vector<int32_t>& index, const Tensor& ids) {
  for (size_t begin = 0; begin < index.size();) {
    size_t end = begin + 1;
    while (end < index.size() && index[begin] >= 0 && index[end] == index[end - 1] + 1) ++end;
    if (index[begin] >= 0) {
      const Tensor to = ids.rows(int64_t(begin), int64_t(end - begin)),
                   from = drawn_ids(index[begin] + int64_t(end - begin)).rows(index[begin], int64_t(end - begin));
      copy_on_device(ctx_, to.data, from.data, to.bytes());
    }
    begin = end;
  }
}

Tensor Forward::run(const StepRows& rows, const KvCache* kv_cache, const StepOutputs& outputs) {
  // The first step takes the whole plan, so that a run that only trains takes nothing.
  reserve({.rows = rows.num_rows(),
           .wanted = int64_t(rows.wanted.size()),
           .cached = kv_cache != nullptr,
           .outputs = outputs});
  return walk(rows, kv_cache);
}

namespace {

// Planes of the step's images, which are added after the first layers. After the last one only wanted rows are left.
std::vector<AddedRows> added_planes(const StepRows& rows, int64_t num_layers, const Model& model) {
  std::vector<AddedRows> added;
  for (const PlacedPiece& p : rows.images) {
    const int64_t each = p.image->layout.num_rows(), planes = model.vision().num_planes();
    const auto add = [&](int64_t plane, int64_t row, int64_t first, int64_t count) {
      added.push_back({size_t(plane - 1), row, p.image->rows.rows(plane * each + first, count)});
    };
    for (int64_t plane = 1; plane < planes && plane < num_layers; ++plane) add(plane, p.at.row, p.at.first, p.at.count);
    if (planes <= num_layers) continue;
    for (size_t i = 0; i < rows.wanted.size(); ++i) {
      const int32_t within = rows.wanted[i] - p.at.row;
      if (within >= 0 && within < p.at.count) add(num_layers, int64_t(i), p.at.first + within, 1);
    }
  }
  return added;
}

}  // namespace

Tensor Forward::walk(const StepRows& rows, const KvCache* kv_cache) {
  const ModelConfig& config = model_.config;
  const Weights& weights = model_.weights;
  const DType dtype = model_.compute();
  const int64_t num_rows = rows.num_rows(), num_wanted = int64_t(rows.wanted.size()), d = config.text.hidden_size;
  const Tensor out = num_wanted ? arena_.tensor(dtype, {num_wanted, d}) : Tensor();
  const size_t keep = arena_.mark();  // what stays valid after this call

  const Tensor x = arena_.tensor(dtype, {num_rows, d});
  const Tensor ids = upload(rows.token_ids);
  embed(ctx_, weights, ids, ids, Tensor(), x);
  for (const PlacedPiece& p : rows.images) {
    const Tensor to = x.rows(p.at.row, p.at.count);
    copy_on_device(ctx_, to.data, p.image->rows.rows(p.at.first, p.at.count).data, to.bytes());
  }
  const DecoderCall call{&config, rope_.at(upload(rows.positions)), &rows.plan};
  const std::vector<AddedRows> added = added_planes(rows, config.text.num_hidden_layers, model_);
  DecoderSink sink{.added = added};
  if (kv_cache)
    sink.kv = [kv_cache, kv_rows = upload(rows.kv_rows)](size_t l) {
      return KvTarget{kv_cache->keys(l), kv_cache->values(l), kv_rows};
    };
  AttentionPlan wanted_plan;
  WantedRows wanted{.plan = &wanted_plan};
  if (num_wanted > 0 && num_wanted < num_rows) {  // of a chunk of a long prompt only keys and values are of use
    wanted.rows = upload(rows.wanted);
    wanted.positions = upload(rows.positions.gathered(rows.wanted));
    wanted_plan = {rows.wanted_spans, rows.plan.ranges, rows.plan.paths};
    sink.wanted = &wanted;
  }
  decoder_forward(ctx_, weights, call, x, out, sink, arena_);
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

void Forward::sample(const Tensor& residual, const std::vector<SampleParams>& params, std::span<const int32_t> rows,
                     DrawnTokens& drawn) {
  const int64_t total = int64_t(rows.size());
  drawn.count = total;
  if (total == 0) return;
  check(total <= kMaxSampled, "internal", "a draw of ", total, " tokens");
  const size_t start = arena_.mark();
  const Tensor words = upload(sample_words(params)).reshaped({total, kSampleWords});
  for (int64_t begin = 0; begin < total; begin += head_rows_) {
    const int64_t count = std::min(head_rows_, total - begin);
    const size_t mark = arena_.mark();
    const Tensor chunk = head(gather(residual, rows.subspan(size_t(begin), size_t(count))));
    sample_token(ctx_, chunk, words.rows(begin, count), drawn_ids(total).rows(begin, count),
                 drawn_logps(total).rows(begin, count));
    arena_.release(mark);
  }
  arena_.release(start);
  drawn.download.start(ctx_, drawn_memory_.data(), size_t(total) * 2 * sizeof(int32_t));  // one copy brings both
}

// Everything on which the launches of decode() depend. What is missing here replays a wrong step; the tests on device
// cuda hold every step against its record.
LaunchGraphs::Signature Forward::signature(int64_t num_rows, const KvCache& kv_cache,
                                           const std::vector<uint64_t>& attention) const {
  LaunchGraphs::Signature s{uint64_t(num_rows), uint64_t(kv_cache.num_rows()), WeightState(model_.weights).value()};
  for (const void* memory : std::initializer_list<const void*>{arena_.data(), drawn_memory_.data(), rope_.data(),
                                                               ctx_.workspace.data(), kv_cache.keys(0).data})
    s.push_back(reinterpret_cast<uintptr_t>(memory));
  s.insert(s.end(), attention.begin(), attention.end());
  return s;
}

void Forward::decode(const StepRows& rows, const KvCache& kv_cache, const std::vector<SampleParams>& params,
                     DrawnTokens& drawn) {
  const int64_t num_rows = rows.num_rows();
  check(num_rows <= kMaxSampled, "internal", "a draw of ", num_rows, " tokens");
  reserve({.rows = num_rows, .wanted = num_rows, .decodes = true});
  draw_next(rows, kv_cache, params, drawn);
}

void Forward::draw_next(const StepRows& rows, const KvCache& kv_cache, const std::vector<SampleParams>& params,
                        DrawnTokens& drawn) {
  const TextConfig& text = model_.config.text;
  const int64_t num_rows = rows.num_rows();
  // What differs from step to step lies at fixed addresses before the step begins.
  const std::vector<int32_t> drawing = sample_words(params);
  const std::vector<int32_t> positions = rows.positions.by_axis();
  const std::vector<Tensor> inputs = upload_together({&rows.token_ids, &positions, &rows.kv_rows, &drawing});
  const Tensor &ids = inputs[0], words = inputs[3].reshaped({num_rows, kSampleWords});
  place_drawn(rows.drawn_index, ids);
  const DecoderCall call{&model_.config, rope_.at(inputs[1].reshaped({text.num_position_axes, num_rows})), &rows.plan};
  const DecoderSink sink{.kv = [&](size_t l) { return KvTarget{kv_cache.keys(l), kv_cache.values(l), inputs[2]}; }};
  std::vector<uint64_t> attention;
  for (const int32_t window : std::set<int32_t>(text.windows.begin(), text.windows.end())) {
    const std::vector<uint64_t> words =
        prepare_attention(ctx_, windowed(rows.plan, window), model_.compute(), text.num_attention_heads,
                          text.num_key_value_heads, text.head_dim);
    attention.insert(attention.end(), words.begin(), words.end());
  }

  const size_t mark = arena_.mark();
  graphs_.run(ctx_, signature(num_rows, kv_cache, attention), [&] {
    arena_.release(mark);
    const Tensor x = arena_.tensor(model_.compute(), {num_rows, text.hidden_size});
    embed(ctx_, model_.weights, ids, ids, Tensor(), x);
    const Tensor residual = arena_.tensor(x.dtype, {num_rows, text.hidden_size});
    decoder_forward(ctx_, model_.weights, call, x, residual, sink, arena_);
    for (int64_t begin = 0; begin < num_rows; begin += head_rows_) {
      const int64_t count = std::min(head_rows_, num_rows - begin);
      const size_t head_mark = arena_.mark();
      sample_token(ctx_, head(residual.rows(begin, count)), words.rows(begin, count),
                   drawn_ids(num_rows).rows(begin, count), drawn_logps(num_rows).rows(begin, count));
      arena_.release(head_mark);
    }
    arena_.release(mark);
  });
  drawn.count = num_rows;
  drawn.download.start(ctx_, drawn_memory_.data(), size_t(num_rows) * 2 * sizeof(int32_t));
}

void Forward::read(DrawnTokens& drawn, std::vector<int32_t>& tokens, std::vector<float>& logps) {
  tokens.resize(size_t(drawn.count));
  logps.resize(size_t(drawn.count));
  if (drawn.count == 0) return;
  const char* host = static_cast<const char*>(drawn.download.wait());
  std::memcpy(tokens.data(), host, tokens.size() * sizeof(int32_t));
  std::memcpy(logps.data(), host + tokens.size() * sizeof(int32_t), logps.size() * sizeof(float));
}

void Forward::score(const Tensor& residual, std::span<const int32_t> rows, std::span<const int32_t> targets,
                    std::vector<float>& logps) {
  const int64_t total = int64_t(rows.size());
  const size_t start = arena_.mark();
  const Tensor logp = arena_.tensor(DType::f32, {total});
  for (int64_t begin = 0; begin < total; begin += head_rows_) {
    const int64_t count = std::min(head_rows_, total - begin);
    const size_t mark = arena_.mark();
    const Tensor chunk = head(gather(residual, rows.subspan(size_t(begin), size_t(count))));
    log_softmax_gather(ctx_, chunk, upload({targets.begin() + begin, targets.begin() + begin + count}),
                       logp.rows(begin, count));
    arena_.release(mark);
  }
  logps.resize(rows.size());
  copy_to_host(ctx_, logps.data(), logp.data, logp.bytes());
  arena_.release(start);
}

}  // namespace vpref
