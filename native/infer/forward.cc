// SPDX-License-Identifier: Apache-2.0
#include "infer/forward.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/memory.h"
#include "infer/weight_state.h"
#include "model/linear.h"
#include "ops/attention.h"
#include "ops/log_softmax.h"
#include "ops/rms_norm.h"
#include "ops/rows.h"

namespace vpref {

Forward::Forward(Context& ctx, const Model& model, int64_t max_rows, bool launch_graphs)
    : ctx_(ctx),
      model_(model),
      head_rows_(model.device() == Device::cpu ? 64 : 512),
      max_rows_(max_rows),
      rope_(ctx, model.config.text),
      graphs_(model.device(), launch_graphs) {
  sampled_memory_ = Buffer(model.device(), size_t(kMaxSampled) * 2 * sizeof(int32_t));
}

Tensor Forward::upload(const std::vector<int32_t>& values) {
  const Tensor t = arena_.tensor(DType::i32, {int64_t(values.size())});
  copy_to_device(ctx_, t.data, values.data(), t.bytes());
  return t;
}

Tensor Forward::upload(const Positions& positions) {
  return upload(positions.by_axis()).reshaped({positions.num_axes(), positions.size()});
}

// One copy uploads all lists.
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

// Copies runs of neighbours at once: all of them, while no branch ends.
void Forward::place_sampled(const std::vector<int32_t>& index, const Tensor& ids) {
  for (size_t begin = 0; begin < index.size();) {
    size_t end = begin + 1;
    while (end < index.size() && index[begin] >= 0 && index[end] == index[end - 1] + 1) ++end;
    if (index[begin] >= 0) {
      const Tensor to = ids.rows(int64_t(begin), int64_t(end - begin)),
                   from = sampled_ids(index[begin] + int64_t(end - begin)).rows(index[begin], int64_t(end - begin));
      copy_on_device(ctx_, to.data, from.data, to.bytes());
    }
    begin = end;
  }
}

namespace {

// Planes of the step's images, which are added after the first layers. After the last layer only wanted rows are left.
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

Tensor Forward::run(const StepRows& rows, const KvCache* kv_cache, const StepOutputs& outputs) {
  reserve({.rows = rows.num_rows(),
           .wanted = int64_t(rows.wanted.size()),
           .cached = kv_cache != nullptr,
           .outputs = outputs});
  const ModelConfig& config = model_.config;
  const Weights& weights = model_.weights;
  const DType dtype = model_.compute();
  const int64_t num_rows = rows.num_rows(), num_wanted = int64_t(rows.wanted.size()), d = config.text.hidden_size;
  const Tensor out = num_wanted ? arena_.tensor(dtype, {num_wanted, d}) : Tensor();
  const size_t keep = arena_.mark();  // `out` stays valid after this call

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
  if (num_wanted > 0 && num_wanted < num_rows) {  // a chunk of a long prompt only gives keys and values
    wanted.rows = upload(rows.wanted);
    wanted.positions = upload(rows.positions.gathered(rows.wanted));
    wanted_plan = {rows.wanted_spans, rows.plan.ranges, rows.plan.paths};
    sink.wanted = &wanted;
  }
  decoder_forward(ctx_, weights, call, x, out, sink, arena_);
  arena_.release(keep);
  return out;
}

// Logits [R,V] f32 of residual rows, in the arena; the caller releases them.
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
                     SampledTokens& sampled) {
  const int64_t total = int64_t(rows.size());
  sampled.count = total;
  if (total == 0) return;
  check(total <= kMaxSampled, "internal", "a step that samples ", total, " tokens");
  const size_t start = arena_.mark();
  const Tensor words = upload(sample_words(params)).reshaped({total, kSampleWords});
  for (int64_t begin = 0; begin < total; begin += head_rows_) {
    const int64_t count = std::min(head_rows_, total - begin);
    const size_t mark = arena_.mark();
    const Tensor chunk = head(gather(residual, rows.subspan(size_t(begin), size_t(count))));
    sample_token(ctx_, chunk, words.rows(begin, count), sampled_ids(total).rows(begin, count),
                 sampled_logps(total).rows(begin, count));
    arena_.release(mark);
  }
  arena_.release(start);
  sampled.download.start(ctx_, sampled_memory_.data(),
                         size_t(total) * 2 * sizeof(int32_t));  // ids and log-probabilities
}

// All that the launches of decode() depend on. If something is missing here, a wrong step is replayed; the tests on
// device cuda compare every replayed step with a new capture.
LaunchGraphs::Signature Forward::signature(int64_t num_rows, const KvCache& kv_cache,
                                           const std::vector<uint64_t>& attention) const {
  LaunchGraphs::Signature s{uint64_t(num_rows), uint64_t(kv_cache.num_rows()), weight_state(model_.weights)};
  for (const void* memory : std::initializer_list<const void*>{arena_.data(), sampled_memory_.data(), rope_.data(),
                                                               ctx_.workspace.data(), kv_cache.keys(0).data})
    s.push_back(reinterpret_cast<uintptr_t>(memory));
  s.insert(s.end(), attention.begin(), attention.end());
  return s;
}

void Forward::decode(const StepRows& rows, const KvCache& kv_cache, const std::vector<SampleParams>& params,
                     SampledTokens& sampled) {
  const TextConfig& text = model_.config.text;
  const int64_t num_rows = rows.num_rows();
  check(num_rows <= kMaxSampled, "internal", "a step that samples ", num_rows, " tokens");
  reserve({.rows = num_rows, .wanted = num_rows, .decodes = true});
  // The inputs that differ from step to step are at fixed addresses before the step begins.
  const std::vector<int32_t> sampling = sample_words(params);
  const std::vector<int32_t> positions = rows.positions.by_axis();
  const std::vector<Tensor> inputs = upload_together({&rows.token_ids, &positions, &rows.kv_rows, &sampling});
  const Tensor &ids = inputs[0], words = inputs[3].reshaped({num_rows, kSampleWords});
  place_sampled(rows.sampled_index, ids);
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
                   sampled_ids(num_rows).rows(begin, count), sampled_logps(num_rows).rows(begin, count));
      arena_.release(head_mark);
    }
    arena_.release(mark);
  });
  sampled.count = num_rows;
  sampled.download.start(ctx_, sampled_memory_.data(), size_t(num_rows) * 2 * sizeof(int32_t));
}

void Forward::read(SampledTokens& sampled, std::vector<int32_t>& tokens, std::vector<float>& logps) {
  tokens.resize(size_t(sampled.count));
  logps.resize(size_t(sampled.count));
  if (sampled.count == 0) return;
  const char* host = static_cast<const char*>(sampled.download.wait());
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
