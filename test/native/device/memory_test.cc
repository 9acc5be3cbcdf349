// SPDX-License-Identifier: Apache-2.0
// What is planned is what is used, to the byte: of every kind of step and of training at every recompute level, on
// device cpu and cuda (the GPU in a CUDA build, else the fiber executor).
// Covers native/infer/kv_cache.cc native/infer/forward_plan.cc
#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "core/memory.h"
#include "infer/forward.h"
#include "model/config_reader.h"
#include "model/json.h"
#include "ops/elementwise.h"
#include "support/golden.h"
#include "train/trainer.h"
#ifdef VPREF_FIBER
#include "fiber/stream.h"
#endif

namespace vpref {
namespace {

struct Setting {
  Device device;
  std::string model;
  DType dtype;
  int adapters;  // 0: none, 1: one per linear, 2: several ranks on some linears, some disabled
  Packing packing = Packing::none;
};
std::ostream& operator<<(std::ostream& out, const Setting& s) {
  return out << s.model << " " << dtype_name(s.dtype) << " " << s.adapters << " " << packing_name(s.packing);
}

// A model whose adapters are zeros, because bytes do not depend on values.
struct Adapted {
  Context ctx;
  Model model;
  std::string dir;
  std::vector<Buffer> memory;
  explicit Adapted(const Setting& s)
      : ctx(s.device, 1), model(golden::fixture(s.model), s.device, s.dtype), dir(golden::fixture(s.model)) {
    model.pack_base(s.packing);
    model.prepare(ctx);
    int64_t n = 0;
    for (DecoderLayer& layer : model.weights.layers) {
      for (Linear& l : layer.linears) {
        if (s.adapters > 0) add(l, s.adapters == 1 ? 4 : 1 + n % 7, true);
        if (s.adapters == 2 && n % 3 == 0) add(l, 11, n % 2 == 0);
        ++n;
      }
    }
    if (s.adapters == 2) add(model.weights.lm_head, 5, true);
  }
  int32_t image_size() const {
    const Json json = read_json_file(dir + "/config.json");
    return ConfigReader(json, "config.json").object("vision_config").integer("image_size", 0, 1, 1 << 14);
  }
  void add(Linear& l, int64_t rank, bool enabled) {
    const auto zeros = [&](int64_t rows, int64_t cols) {
      memory.emplace_back(ctx.device, size_t(rows * cols) * dtype_size(model.compute()), /*zero=*/true);
      return Tensor(memory.back().data(), model.compute(), {rows, cols});
    };
    l.adapters.push_back({zeros(rank, l.inputs()), zeros(l.outputs(), rank), 1.0f, enabled});
  }
};

class PlannedIsUsed : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (GetParam().device == Device::cpu) return;
#ifndef VPREF_FIBER
    try {
      device_free(Device::cuda, device_alloc(Device::cuda, 64));
    } catch (const Error& e) {
      GTEST_SKIP() << "no CUDA device: " << e.what();
    }
#endif
  }
};

std::vector<int32_t> counted(int64_t count, int32_t first = 0) {
  std::vector<int32_t> out;
  for (int32_t i = 0; i < count; ++i) out.push_back(first + i);
  return out;
}

void add_rows(StepRows& step, std::span<const int32_t> ids, int32_t position, std::span<const KvRange> ranges,
              std::span<const int32_t> wanted) {
  for (size_t i = 0; i < ids.size(); ++i) step.positions.add(position + int32_t(i));
  step.add_segment(ids, ranges, wanted, -1);
}

// One segment whose last `wanted` rows are read.
StepRows segment(int64_t rows, int64_t wanted) {
  const KvRange all[] = {{0, int32_t(rows)}};
  StepRows step;
  std::vector<int32_t> ids(size_t(rows), 5);
  add_rows(step, ids, 0, all, counted(wanted, int32_t(rows - wanted)));
  step.kv_rows = counted(rows);
  return step;
}

// A prompt and branches of one token each, all predicted by the prompt's last row.
StepRows many_branches(int32_t prompt, int32_t branches) {
  StepRows step;
  const KvRange own[] = {{0, prompt}};
  const std::vector<int32_t> ids(size_t(prompt), 5), last = { prompt - 1 };
  add_rows(step, ids, 0, own, last);
  for (int32_t b = 0; b < branches; ++b) {
    const KvRange seen[] = {{0, prompt}, {prompt + b, 1}};
    const int32_t id[] = {7};
    add_rows(step, id, prompt, seen, {});
  }
  return step;
}

struct Decoding {
  StepRows step;
  std::vector<SampleParams> params;
  explicit Decoding(int32_t branches) : params(size_t(branches)) {
    step.plan.is_decode = true;
    for (int32_t b = 0; b < branches; ++b) {
      const KvRange seen[] = {{b, 1}};
      const int32_t id[] = {9}, wanted[] = {0};
      add_rows(step, id, 3, seen, wanted);
      step.kv_rows.push_back(b);
      step.sampled_index.push_back(-1);
    }
  }
};

// Computes the given outputs from the residual.
void use(Forward& forward, const Device device, const Tensor& residual, const StepOutputs& outputs) {
  SampledTokens sampled(device);
  std::vector<int32_t> tokens;
  std::vector<float> values;
  const std::vector<int32_t> rows(size_t(std::max(outputs.sampled, outputs.scored)), 0);
  if (outputs.sampled > 0) {
    forward.sample(residual, std::vector<SampleParams>(size_t(outputs.sampled)),
                   std::span(rows).first(size_t(outputs.sampled)), sampled);
    forward.read(sampled, tokens, values);
  }
  if (outputs.scored > 0)
    forward.score(residual, std::span(rows).first(size_t(outputs.scored)),
                  std::vector<int32_t>(size_t(outputs.scored), 3), values);
  if (outputs.read > 0) forward.logits(residual, 0, outputs.read, values);
}

TEST_P(PlannedIsUsed, EveryKindOfStepTakesItsPlannedBytes) {
  const Device device = GetParam().device;
  Adapted m(GetParam());
  KvCache kv_cache(m.model.config, device, m.model.compute(), 300);
  struct Case {
    const char* what;
    StepRows step;
    bool cached;
    StepOutputs outputs;
  };
  const bool slow = device == Device::cuda;
  std::vector<Case> cases;
  cases.push_back({"a piece of a prompt", segment(33, 0), true, {}});
  cases.push_back({"a prompt and its draws", segment(33, 1), true, {.sampled = 5}});
  cases.push_back({"a prompt and its beams", segment(33, 1), true, {.read = 1}});
  cases.push_back({"all rows wanted", segment(20, 20), true, {.sampled = 20}});
  cases.push_back({"all rows but one wanted", segment(20, 19), true, {.read = 19}});
  cases.push_back({"beams", segment(8, 8), true, {.sampled = 3, .read = 5}});
  cases.push_back({"scoring", segment(33, 12), false, {.scored = 12}});
  cases.push_back({"scoring all", segment(20, 20), false, {.scored = 19}});
  cases.push_back({"one-token branches", many_branches(5, slow ? 40 : 400), false, {.scored = slow ? 40 : 400}});
  if (!slow) cases.push_back({"more than a chunk of the head", segment(150, 140), false, {.scored = 140}});
  for (Case& c : cases) {
    if (!c.cached) c.step.kv_rows.clear();
    Forward forward(m.ctx, m.model, /*max_rows=*/1);
    use(forward, device, forward.run(c.step, c.cached ? &kv_cache : nullptr, c.outputs), c.outputs);
    EXPECT_EQ(forward.peak_bytes(), forward.planned_bytes()) << c.what;
  }
  for (const int32_t branches : {2, slow ? 9 : 130}) {
    Decoding d(branches);
    Forward forward(m.ctx, m.model, /*max_rows=*/1);
    SampledTokens sampled(device);
    forward.decode(d.step, kv_cache, d.params, sampled);
    std::vector<int32_t> tokens;
    std::vector<float> logps;
    forward.read(sampled, tokens, logps);
    EXPECT_EQ(forward.peak_bytes(), forward.planned_bytes()) << branches << " branches";
  }
}

// Every step of at most max_rows rows fits into one plan, and the largest step uses all of it.
TEST_P(PlannedIsUsed, TheLargestStepTakesThePlannedBytes) {
  const Device device = GetParam().device;
  Adapted m(GetParam());
  const int64_t most = device == Device::cuda ? 16 : 48;
  KvCache kv_cache(m.model.config, device, m.model.compute(), most);
  Forward forward(m.ctx, m.model, most);
  const size_t planned = forward.plan_bytes();
  std::mt19937 random(7);
  const auto upto = [&](int64_t n) { return std::uniform_int_distribution<int64_t>(1, n)(random); };
  for (int i = 0; i < (device == Device::cuda ? 4 : 30); ++i) {
    const int64_t rows = upto(most), wanted = upto(rows);
    const StepOutputs outputs = {.sampled = upto(most), .scored = upto(most), .read = upto(wanted)};
    use(forward, device, forward.run(segment(rows, wanted), &kv_cache, outputs), outputs);
    Decoding d{int32_t(upto(most))};
    SampledTokens sampled(device);
    forward.decode(d.step, kv_cache, d.params, sampled);
    EXPECT_EQ(forward.planned_bytes(), planned);
  }
  const StepOutputs all = {.sampled = most, .scored = most, .read = most - 1};
  use(forward, device, forward.run(segment(most, most - 1), &kv_cache, all), all);
  use(forward, device, forward.run(segment(most, most), &kv_cache, all), all);
  Decoding last{int32_t(most)};
  SampledTokens sampled(device);
  forward.decode(last.step, kv_cache, last.params, sampled);
  EXPECT_EQ(forward.peak_bytes(), planned);
  EXPECT_EQ(forward.planned_bytes(), planned);
}

// A plan includes an adapter that is added after the old plan is discarded.
TEST(Plan, FollowsTheAdapters) {
  Adapted m({Device::cpu, "tiny-mha", DType::f32, 0});
  Forward forward(m.ctx, m.model, 256);  // the layers need more memory than the head
  const size_t before = forward.plan_bytes();
  m.add(m.model.weights.layers[0].linears[kDownProj], 512, true);
  EXPECT_EQ(forward.plan_bytes(), before);
  forward.forget_plan();
  EXPECT_GT(forward.plan_bytes(), before);
  m.model.weights.layers[0].linears[kDownProj].adapters.back().enabled = false;
  forward.forget_plan();
  EXPECT_EQ(forward.plan_bytes(), before);
}

TEST(Plan, TooManyRowsAreRefused) {
  Adapted m({Device::cpu, "tiny-mha", DType::f32, 0});
  Forward forward(m.ctx, m.model, int64_t(1) << 40);
  try {
    forward.plan_bytes();
    FAIL() << "planned";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "memory");
    EXPECT_NE(std::string(e.what()).find("lower --batch-tokens"), std::string::npos) << e.what();
  }
}

TEST(KvCache, TakesItsPlannedBytesAndNoMoreRowsFit) {
  for (const char* name : {"tiny-mha", "tiny-gqa"}) {
    const Model model(golden::fixture(name), Device::cpu, DType::bf16);
    const auto bytes = [&](int64_t rows) { return KvCache::bytes_of(model.config, DType::bf16, rows); };
    for (const int64_t rows : {1, 2, 77, 1000}) {
      const KvCache kv_cache(model.config, Device::cpu, DType::bf16, rows);
      EXPECT_EQ(kv_cache.bytes(), bytes(rows));
      EXPECT_GE(bytes(rows), size_t(rows) * 2 * size_t(model.config.text.num_hidden_layers) *
                                 size_t(model.config.text.kv_width()) * 2);
      EXPECT_EQ(KvCache::rows_within(bytes(rows), model.config, DType::bf16, 5000) >= rows, true);
      EXPECT_LT(KvCache::rows_within(bytes(rows) - 1, model.config, DType::bf16, 5000), rows);
    }
    EXPECT_EQ(KvCache::rows_within(0, model.config, DType::bf16, 5000), 0);
    EXPECT_EQ(KvCache::rows_within(SIZE_MAX, model.config, DType::bf16, 5000), 5000);
  }
}

// --- training

struct Training {
  std::unique_ptr<Adapted> m;
  std::unique_ptr<Trainer> trainer;
  Training(Setting s, TrainerOptions o, bool qk_norm = false) {
    s.adapters = 0;
    m = std::make_unique<Adapted>(s);
    if (qk_norm) {
      m->model.config.text.qk_norm = true;
      for (DecoderLayer& l : m->model.weights.layers)
        l.q_norm = l.k_norm = l.input_layernorm.rows(0, m->model.config.text.head_dim);
    }
    o.loss = parse_losses("sigmoid");
    trainer = std::make_unique<Trainer>(m->ctx, m->model.config, m->model.weights, m->model.compute(), std::move(o));
  }
  EncodeImages encode() {
    return [this](std::span<const ImageRef>, const Tensor& features) { fill(m->ctx, 0.5f, features); };
  }
  void step(const std::vector<TrainRow>& rows) {
    StepResult result = trainer->accumulate(rows, encode());
    trainer->update(result, rows);
  }
  TrainRow row(int32_t num_images, int32_t prompt, int32_t answer) const {
    const ModelConfig& config = m->model.config;
    TrainRow r{.id = "row", .num_rejected = 1, .ref = {-3, -4}};
    const int32_t side = m->image_size();
    r.images.assign(size_t(num_images), {side, side, {{side, side}}});
    SegmentInput first;
    for (int32_t i = 0; i < num_images; ++i) {
      first.token_ids.insert(first.token_ids.end(), size_t(config.vision->layout(r.images[0]).num_rows()),
                             config.image_token_id);
      first.images.push_back(i);
    }
    first.token_ids.insert(first.token_ids.end(), size_t(prompt), 5);
    r.segments = {first};
    for (int32_t b = 0; b < 2; ++b)
      r.segments.push_back({.parent = 0, .token_ids = std::vector<int32_t>(size_t(answer), 7 + b), .branch = b});
    return r;
  }
  RowSize size(const TrainRow& r) const {
    RowSize s;
    for (const ImageShape& image : r.images) {
      s.image_rows += m->model.config.vision->layout(image).num_rows();
      s.features += m->model.config.vision->num_features(image);
    }
    for (const SegmentInput& g : r.segments) s.rows += int64_t(g.token_ids.size());
    s.targets = int64_t(2 * r.segments[1].token_ids.size());
    return s;
  }
};

struct Trained {
  const char* what;
  int64_t rank;
  bool projector, language_model, qk_norm;
};

TEST_P(PlannedIsUsed, TrainingTakesItsPlannedBytesAtEveryRecomputeLevel) {
  const Setting& s = GetParam();
  const bool vision = s.model != "tiny-text", slow = s.device == Device::cuda;
  if (slow && !vision) return;
  for (const Trained& t :
       {Trained{"LoRA", 4, false, false, false}, Trained{"LoRA of a large rank", 96, false, false, false},
        Trained{"LoRA and projector", 3, true, false, false}, Trained{"projector", 0, true, false, false},
        Trained{"all weights", 0, false, true, false}, Trained{"normed heads", 4, false, false, true}}) {
    if (t.projector && !vision) continue;
    if (t.language_model && s.packing != Packing::none) continue;  // refused
    for (const int level : {0, 1, 2, 3}) {
      TrainerOptions o;
      o.trainable.lora_r = t.rank;
      o.trainable.lora_alpha = 8;
      o.trainable.projector = t.projector;
      o.trainable.language_model = t.language_model;
      o.recompute = level;
      o.micro_batch_tokens = 1;  // on CUDA the memory is allocated for one row, and grows
      o.head_chunk_rows = 8;
      Training run(s, o, t.qk_norm);
      Trainer& trainer = *run.trainer;
      std::vector<TrainRow> rows = {run.row(vision ? 1 : 0, 6, slow ? 4 : 30)};
      if (s.device == Device::cpu) {
        const std::vector<RowSize> sizes = {run.size(rows[0])};
        const std::vector<int64_t> ends = {1};
        const size_t activations = trainer.plan(sizes, ends, kNoLimit).activations;
        EXPECT_EQ(trainer.activation_bytes(), activations);
      }
      run.step(rows);
      const size_t planned = trainer.activation_bytes();
      EXPECT_EQ(trainer.activation_peak(), planned) << t.what << ", level " << level;
      if (slow) continue;
      if (t.rank > 0) {  // without gradients no step needs more
        trainer.score(rows, run.encode(), true);
        trainer.score(rows, run.encode(), false);
      }
      run.step(rows);
      EXPECT_EQ(trainer.activation_bytes(), planned) << t.what << ", level " << level;
      EXPECT_EQ(trainer.activation_peak(), planned) << t.what << ", level " << level;
    }
  }
}

// On CUDA the memory is allocated when only --batch-tokens is known; it assumes that half of the rows are responses.
TEST_P(PlannedIsUsed, AFullMicroBatchTakesItsPlannedBytes) {
  const Setting& s = GetParam();
  if (s.model != "tiny-text") return;
  TrainerOptions o;
  o.trainable.lora_r = 4;
  o.recompute = 1;
  o.micro_batch_tokens = 16;
  Training run(s, o);
  const std::vector<TrainRow> rows = {run.row(0, 8, 4)};
  if (s.device == Device::cuda) {
    const size_t planned = run.trainer->activation_bytes();
    EXPECT_GT(planned, 0u);
    run.step(rows);
    EXPECT_EQ(run.trainer->activation_bytes(), planned);
  } else {
    run.step(rows);
  }
  EXPECT_EQ(run.trainer->activation_peak(), run.trainer->activation_bytes());
}

// The recompute level decides which of two micro-batches needs more memory; both fit, and smaller ones are not
// measured.
TEST(Plan, CoversEveryMicroBatchOfARun) {
  for (const int level : {0, 3}) {
    TrainerOptions o;
    o.trainable.lora_r = 4;
    o.recompute = level;
    o.micro_batch_tokens = 1;
    o.head_chunk_rows = 1000;
    Training run({Device::cpu, "tiny-mha", DType::f32, 0}, o);
    const std::vector<TrainRow> rows = {run.row(1, 60, 2), run.row(0, 2, 30), run.row(2, 8, 9), run.row(0, 2, 3)};
    std::vector<RowSize> sizes;
    std::vector<int64_t> ends;
    size_t most = 0;
    for (const TrainRow& r : rows) {
      sizes.push_back(run.size(r));
      ends.push_back(int64_t(sizes.size()));
      Training alone({Device::cpu, "tiny-mha", DType::f32, 0}, o);
      alone.step({r});
      most = std::max(most, alone.trainer->activation_bytes());
    }
    const size_t activations = run.trainer->plan(sizes, ends, kNoLimit).activations;
    EXPECT_EQ(activations, most);
    run.step(rows);
    EXPECT_EQ(run.trainer->activation_bytes(), most);
    EXPECT_EQ(run.trainer->activation_peak(), most);
  }
}

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const char* model : {"tiny-mha", "tiny-gqa", "tiny-llama3", "tiny-text"}) {
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const int adapters : {0, 1, 2}) all.push_back({Device::cpu, model, dtype, adapters});
  }
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Packing packing : {Packing::nf4, Packing::int8})
      all.push_back({Device::cpu, "tiny-gqa", dtype, 2, packing});
  }
#ifdef VPREF_CUDA
  for (const char* model : {"tiny-gqa", "tiny-text"}) {
    for (const DType dtype : {DType::f32, DType::bf16})
      all.push_back({Device::cuda, model, dtype, dtype == DType::f32 ? 0 : 2});
  }
  all.push_back({Device::cuda, "tiny-gqa", DType::f32, 2, Packing::int8});
  all.push_back({Device::cuda, "tiny-gqa", DType::bf16, 2, Packing::nf4});
#endif
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, PlannedIsUsed, testing::ValuesIn(settings()), [](const auto& info) {
  const Setting& s = info.param;
  return cat(s.device == Device::cpu ? "cpu_" : "cuda_", s.model.substr(5), "_", dtype_name(s.dtype), "_", s.adapters,
             s.packing == Packing::none ? "" : cat("_", packing_name(s.packing)));
});

}  // namespace
}  // namespace vpref
