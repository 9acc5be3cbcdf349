// SPDX-License-Identifier: Apache-2.0
#include "addon/train_convert.h"

#include <cmath>

#include "addon/convert.h"

namespace vpref::addon {
namespace {

SegmentInput segment_of(const Napi::Object& from) {
  SegmentInput s;
  s.parent = int32_t(number_field(from, "parent"));
  s.branch = int32_t(number_field(from, "branch"));
  s.token_ids = int32_list(from.Get("ids"), "ids");
  if (const Napi::Value scored = from.Get("scored"); scored.IsTypedArray()) {
    auto mask = scored.As<Napi::Uint8Array>();
    if (mask.ElementLength() != s.token_ids.size())
      throw Napi::TypeError::New(from.Env(), "[addon] scored: expected one value an id");
    s.scored.assign(mask.Data(), mask.Data() + mask.ElementLength());
  }
  s.images = int32_list(from.Get("images"), "images");
  return s;
}

// Empty if there is none.
std::vector<double> doubles_of(const Napi::Value& from) {
  if (!from.IsArray()) return {};
  const Napi::Array list = from.As<Napi::Array>();
  std::vector<double> to;
  for (uint32_t i = 0; i < list.Length(); ++i) to.push_back(list.Get(i).As<Napi::Number>().DoubleValue());
  return to;
}

double number_or(const Napi::Object& from, const char* name, double otherwise) {
  return from.Get(name).IsUndefined() ? otherwise : number_field(from, name);
}

template <class T>
Napi::Array number_array(Napi::Env env, const std::vector<T>& from) {
  Napi::Array to = Napi::Array::New(env, from.size());
  for (uint32_t i = 0; i < from.size(); ++i) to.Set(i, double(from[i]));
  return to;
}

}  // namespace

LossOptions loss_options_of(const Napi::Object& from) {
  LossOptions o;
  const Napi::Object hyperparameters_in = from.Get("lossOptions").As<Napi::Object>();
  for (const HyperparameterInfo& h : hyperparameters()) o.*h.value = number_field(hyperparameters_in, h.flag().c_str());
  return o;
}

TrainerOptions options_of(const Napi::Object& from) {
  TrainerOptions o;
  o.loss_options = loss_options_of(from);
  o.loss = parse_losses(string_field(from, "loss"), o.loss_options);
  TrainableOptions& t = o.trainable;
  t.lora_r = int64_t(number_field(from, "loraR"));
  t.lora_alpha = number_field(from, "loraAlpha");
  t.lora_dropout = number_field(from, "loraDropout");
  t.use_rslora = bool_field(from, "rslora");
  t.lora_targets.clear();
  const Napi::Array targets = array_field(from, "loraTargets");
  for (uint32_t i = 0; i < targets.Length(); ++i)
    t.lora_targets.push_back(targets.Get(i).As<Napi::String>().Utf8Value());
  const std::vector<double> ranks = doubles_of(from.Get("loraRanks")), alphas = doubles_of(from.Get("loraAlphas"));
  for (size_t i = 0; i < ranks.size(); ++i) t.lora_shapes.push_back({int64_t(ranks[i]), alphas[i]});
  t.projector = bool_field(from, "trainProjector");
  t.language_model = bool_field(from, "trainLanguageModel");
  t.seed = uint64_t(number_field(from, "seed"));
  o.lr = number_field(from, "lr");
  o.projector_lr = number_field(from, "projectorLr");
  o.schedule = parse_schedule(string_field(from, "lrSchedule"));
  o.total_steps = int64_t(number_field(from, "totalSteps"));
  const Napi::Value warmup = from.Get("warmupSteps");
  const double warmup_ratio = number_field(from, "warmupRatio");
  o.warmup = warmup.IsNumber() ? warmup.As<Napi::Number>().Int64Value() : warmup_steps(o.total_steps, warmup_ratio);
  o.weight_decay = number_field(from, "weightDecay");
  o.max_grad_norm = number_field(from, "maxGradNorm");
  o.micro_batch_tokens = int64_t(number_field(from, "microBatchTokens"));
  o.recompute = int(number_field(from, "recompute"));
  o.memory_budget = size_t(number_field(from, "memoryBudget"));
  o.zero = int(number_field(from, "zero"));
  return o;
}

template <>
bool argument(const Napi::Value& from) {
  return from.As<Napi::Boolean>().Value();
}

template <>
double argument(const Napi::Value& from) {
  return from.As<Napi::Number>().DoubleValue();
}

template <>
int64_t argument(const Napi::Value& from) {
  const double number = argument<double>(from);
  return std::isfinite(number) ? int64_t(number) : kNoLimit;
}

template <>
std::string argument(const Napi::Value& from) {
  return from.As<Napi::String>().Utf8Value();
}

template <>
std::vector<int64_t> argument(const Napi::Value& from) {
  const std::vector<int32_t> numbers = int32_list(from, "numbers");
  return {numbers.begin(), numbers.end()};
}

template <>
std::vector<RowSize> argument(const Napi::Value& from) {
  const std::vector<int32_t> sizes = int32_list(from, "sizes");
  std::vector<RowSize> rows;
  for (size_t i = 0; i + 5 <= sizes.size(); i += 5)
    rows.push_back({sizes[i], sizes[i + 1], sizes[i + 2], sizes[i + 3], sizes[i + 4]});
  return rows;
}

template <>
std::vector<SessionRow> argument(const Napi::Value& from) {
  const Napi::Array list = from.As<Napi::Array>();
  std::vector<SessionRow> rows(list.Length());
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Object object = list.Get(i).As<Napi::Object>();
    TrainRow& row = rows[i].row;
    row.id = string_field(object, "id");
    row.num_rejected = int32_t(number_field(object, "numRejected"));
    row.num_rejected_images = int32_t(number_field(object, "numRejectedImages"));
    row.label = bool_field(object, "label");
    row.weight = number_or(object, "weight", row.weight);
    row.beta = number_or(object, "beta", row.beta);
    rows[i].images = image_list(array_field(object, "images"));
    const Napi::Array segments = array_field(object, "segments");
    for (uint32_t k = 0; k < segments.Length(); ++k)
      row.segments.push_back(segment_of(segments.Get(k).As<Napi::Object>()));
    row.ref = doubles_of(object.Get("ref"));
  }
  return rows;
}

Napi::Value result_value(Napi::Env env, std::monostate) { return env.Undefined(); }
Napi::Value result_value(Napi::Env env, double result) { return Napi::Number::New(env, result); }
Napi::Value result_value(Napi::Env env, int64_t result) { return Napi::Number::New(env, double(result)); }

Napi::Value result_value(Napi::Env env, const std::vector<std::string>& result) {
  Napi::Array to = Napi::Array::New(env, result.size());
  for (uint32_t i = 0; i < result.size(); ++i) to.Set(i, result[i]);
  return to;
}

Napi::Value result_value(Napi::Env env, const MemoryPlan& result) {
  Napi::Object to = Napi::Object::New(env);
  to.Set("level", result.level);
  to.Set("activationBytes", double(result.activations));
  to.Set("largestBatch", double(result.largest_batch));
  to.Set("budget", result.budget == kNoLimit ? INFINITY : double(result.budget));
  return to;
}

Napi::Value result_value(Napi::Env env, const std::vector<RowResult>& rows) {
  Napi::Array to = Napi::Array::New(env, rows.size());
  for (uint32_t i = 0; i < rows.size(); ++i) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("policy", number_array(env, rows[i].policy));
    row.Set("numTokens", number_array(env, rows[i].num_tokens));
    to.Set(i, row);
  }
  return to;
}

Napi::Value result_value(Napi::Env env, const StepResult& result) {
  Napi::Object to = Napi::Object::New(env);
  to.Set("loss", result.loss);
  to.Set("gradNorm", result.grad_norm);
  to.Set("learningRate", result.learning_rate);
  to.Set("numTokens", double(result.num_rows_packed));
  to.Set("rows", result_value(env, result.rows));
  if (result.reward_mean) to.Set("rewardMean", result.reward_mean->mean);
  return to;
}

LossRow loss_row_of(const Napi::Object& from) {
  LossRow row{{},
              int32_t(number_field(from, "numRejected")),
              bool_field(from, "label"),
              number_field(from, "weight"),
              number_field(from, "beta")};
  const std::vector<double> policy = doubles_of(from.Get("policy")), ref = doubles_of(from.Get("ref")),
                            tokens = doubles_of(from.Get("numTokens"));
  for (size_t i = 0; i < policy.size(); ++i)
    row.branches.push_back({policy[i], ref.empty() ? 0 : ref[i], int64_t(tokens[i])});
  return row;
}

}  // namespace vpref::addon
