// SPDX-License-Identifier: Apache-2.0
#include "addon/trainer_object.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "addon/convert.h"
#include "addon/policy_object.h"
#include "dist/mpi.h"
#include "model/merge.h"

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

std::vector<SessionRow> rows_of(const Napi::Array& from) {
  std::vector<SessionRow> rows(from.Length());
  for (uint32_t i = 0; i < from.Length(); ++i) {
    const Napi::Object object = from.Get(i).As<Napi::Object>();
    TrainRow& row = rows[i].row;
    row.id = string_field(object, "id");
    row.num_rejected = int32_t(number_field(object, "numRejected"));
    row.num_rejected_images = int32_t(number_field(object, "numRejectedImages"));
    row.label = bool_field(object, "label");
    row.weight = number_field(object, "weight");
    row.beta = number_field(object, "beta");
    rows[i].images = image_list(array_field(object, "images"));
    const Napi::Array segments = array_field(object, "segments");
    for (uint32_t k = 0; k < segments.Length(); ++k)
      row.segments.push_back(segment_of(segments.Get(k).As<Napi::Object>()));
    if (const Napi::Value ref = object.Get("ref"); ref.IsTypedArray()) {
      auto sums = ref.As<Napi::Float64Array>();
      row.ref.assign(sums.Data(), sums.Data() + sums.ElementLength());
    }
  }
  return rows;
}

// Empty where there is none.
std::vector<double> doubles_of(const Napi::Value& from) {
  if (!from.IsArray()) return {};
  const Napi::Array list = from.As<Napi::Array>();
  std::vector<double> to;
  for (uint32_t i = 0; i < list.Length(); ++i) to.push_back(list.Get(i).As<Napi::Number>().DoubleValue());
  return to;
}

LossOptions loss_options_of(const Napi::Object& from) {
  LossOptions o;
  const Napi::Object hyperparameters_in = from.Get("lossOptions").As<Napi::Object>();
  for (const NamedHyperparameter& h : hyperparameters())
    o.*h.value = number_field(hyperparameters_in, std::string(h.name).c_str());
  return o;
}

TrainerOptions options_of(const Napi::Object& from) {
  TrainerOptions o;
  o.loss_options = loss_options_of(from);
  o.loss = parse_losses(string_field(from, "loss"), o.loss_options);
  TrainableOptions& t = o.trainable;
  t.lora_r = int64_t(number_field(from, "loraR"));
  t.lora_alpha = number_field(from, "loraAlpha");
  t.use_rslora = bool_field(from, "rslora");
  t.lora_targets.clear();
  const Napi::Array targets = array_field(from, "loraTargets");
  for (uint32_t i = 0; i < targets.Length(); ++i)
    t.lora_targets.push_back(targets.Get(i).As<Napi::String>().Utf8Value());
  const std::vector<double> ranks = doubles_of(from.Get("loraRanks")), alphas = doubles_of(from.Get("loraAlphas"));
  for (size_t i = 0; i < ranks.size(); ++i) t.lora_shapes.push_back({int64_t(ranks[i]), alphas[i]});
  t.lora_dropout = number_field(from, "loraDropout");
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

template <class T>
Napi::Array number_array(Napi::Env env, const std::vector<T>& from) {
  Napi::Array to = Napi::Array::New(env, from.size());
  for (uint32_t i = 0; i < from.size(); ++i) to.Set(i, double(from[i]));
  return to;
}

Napi::Value sums_value(Napi::Env env, const std::vector<RowResult>& rows) {
  Napi::Array to = Napi::Array::New(env, rows.size());
  for (uint32_t i = 0; i < rows.size(); ++i) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("policy", number_array(env, rows[i].policy));
    row.Set("numTokens", number_array(env, rows[i].num_tokens));
    to.Set(i, row);
  }
  return to;
}

// has_mean: whether the loss reads the mean of all rewards.
Napi::Value step_value(Napi::Env env, const StepResult& result, bool has_mean) {
  Napi::Object to = Napi::Object::New(env);
  to.Set("loss", result.loss);
  to.Set("gradNorm", result.grad_norm);
  to.Set("learningRate", result.learning_rate);
  to.Set("numTokens", double(result.num_rows_packed));
  to.Set("rows", sums_value(env, result.rows));
  if (has_mean) to.Set("rewardMean", result.reward_mean.mean);
  return to;
}

}  // namespace

Napi::Function TrainerObject::define(Napi::Env env) {
  return DefineClass(env, "Trainer",
                     {
                         StaticMethod("create", &TrainerObject::create),
                         InstanceMethod("plan", &TrainerObject::plan),
                         InstanceMethod("step", &TrainerObject::step),
                         InstanceMethod("score", &TrainerObject::score),
                         InstanceMethod("saveGradients", &TrainerObject::save_gradients),
                         InstanceMethod("saveAdapter", &TrainerObject::save_adapter),
                         InstanceMethod("saveState", &TrainerObject::save_state),
                         InstanceMethod("restore", &TrainerObject::restore),
                         InstanceMethod("agree", &TrainerObject::agree),
                         InstanceMethod("exchange", &TrainerObject::exchange),
                         InstanceMethod("leave", &TrainerObject::leave),
                         InstanceMethod("facts", &TrainerObject::facts),
                         InstanceMethod("cancel", &TrainerObject::cancel),
                     });
}

TrainerObject::Shared::~Shared() {
  if (!session) return;
  // The last job may still be using the session's buffers: it is deleted after it, on the same thread.
  auto* last = session.release();
  try {
    engine->run([last](Context&, Model&) { delete last; }, [](Outcome<std::monostate>) {});
  } catch (const Error&) {
    delete last;  // the engine is closed: nothing runs any more
  }
}

TrainerObject::TrainerObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TrainerObject>(info) {
  if (info.Length() != 2 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "[addon] use Trainer.create(policy, settings)");
  shared_ = *info[0].As<Napi::External<std::shared_ptr<Shared>>>().Data();
  promises_ = *info[1].As<Napi::External<std::shared_ptr<PromiseQueue>>>().Data();
}

Napi::Value TrainerObject::create(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    PolicyObject* policy = PolicyObject::Unwrap(info[0].As<Napi::Object>());
    auto shared = std::make_shared<Shared>();
    shared->engine = policy->engine();
    TrainerOptions options = options_of(info[1].As<Napi::Object>());
    const WorldOptions world{.size = int(number_field(info[1].As<Napi::Object>(), "numRanks")),
                             .device = shared->engine->facts().device,
                             .library_folder = ""};
    std::string init_adapter = info[2].IsString() ? info[2].As<Napi::String>().Utf8Value() : "";
    auto promises = policy->promises();
    auto constructor = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info.This().As<Napi::Function>()));
    auto [promise, done] =
        promises->make<std::monostate>(env, [=](Napi::Env env, std::monostate&&) mutable -> Napi::Value {
          return constructor->New({Napi::External<std::shared_ptr<Shared>>::New(env, &shared),
                                   Napi::External<std::shared_ptr<PromiseQueue>>::New(env, &promises)});
        });
    shared->engine->run(
        [=](Context& ctx, Model& model) {
          shared->session = std::make_unique<TrainSession>(ctx, model, options, init_adapter, join_world(world));
        },
        done);
    return promise;
  });
}

template <class T>
Napi::Value TrainerObject::on_engine(Napi::Env env, std::function<T(TrainSession&)> work,
                                     std::function<Napi::Value(Napi::Env, T&&)> convert) {
  return guarded(env, [&]() -> Napi::Value {
    auto [promise, done] = promises_->make<T>(env, std::move(convert));
    auto result = std::make_shared<std::optional<T>>();
    auto shared = shared_;
    shared->engine->run([=](Context&, Model&) { *result = work(*shared->session); },
                        [=, done = std::move(done)](Outcome<std::monostate> outcome) {
                          if (auto* error = std::get_if<Error>(&outcome))
                            done(*error);
                          else
                            done(std::move(**result));
                        });
    return promise;
  });
}

Napi::Value TrainerObject::plan(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const std::vector<int32_t> sizes = int32_list(info[0], "sizes"), ends = int32_list(info[1], "step ends");
    auto rows = std::make_shared<std::vector<RowSize>>();
    for (size_t i = 0; i + 5 <= sizes.size(); i += 5)
      rows->push_back({sizes[i], sizes[i + 1], sizes[i + 2], sizes[i + 3], sizes[i + 4]});
    auto step_ends = std::make_shared<std::vector<int64_t>>(ends.begin(), ends.end());
    const double free = info[2].As<Napi::Number>().DoubleValue();
    const int64_t free_bytes = std::isfinite(free) ? int64_t(free) : kNoLimit;
    return on_engine<MemoryPlan>(
        env, [=](TrainSession& s) { return s.plan(*rows, *step_ends, free_bytes); },
        [](Napi::Env env, MemoryPlan&& plan) {
          Napi::Object to = Napi::Object::New(env);
          to.Set("level", plan.level);
          to.Set("activationBytes", double(plan.activations));
          to.Set("largestBatch", double(plan.largest_batch));
          to.Set("budget", plan.budget == kNoLimit ? INFINITY : double(plan.budget));
          return to;
        });
  });
}

Napi::Value TrainerObject::step(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    auto rows = std::make_shared<std::vector<SessionRow>>(rows_of(info[0].As<Napi::Array>()));
    return on_engine<StepResult>(
        env, [rows](TrainSession& s) { return s.step(*rows); },
        [has_mean = has_reward_mean()](Napi::Env env, StepResult&& r) { return step_value(env, r, has_mean); });
  });
}

Napi::Value TrainerObject::score(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    auto rows = std::make_shared<std::vector<SessionRow>>(rows_of(info[0].As<Napi::Array>()));
    const bool on = info[1].As<Napi::Boolean>().Value();
    return on_engine<std::vector<RowResult>>(
        env, [rows, on](TrainSession& s) { return s.score(*rows, on); },
        [](Napi::Env env, std::vector<RowResult>&& r) { return sums_value(env, r); });
  });
}

Napi::Value TrainerObject::save_gradients(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    auto rows = std::make_shared<std::vector<SessionRow>>(rows_of(info[0].As<Napi::Array>()));
    const std::string file = info[1].As<Napi::String>().Utf8Value();
    return on_engine<StepResult>(
        env, [rows, file](TrainSession& s) { return s.save_gradients(*rows, file); },
        [has_mean = has_reward_mean()](Napi::Env env, StepResult&& r) { return step_value(env, r, has_mean); });
  });
}

Napi::Value TrainerObject::save_adapter(const Napi::CallbackInfo& info) {
  const std::string file = info[0].As<Napi::String>().Utf8Value();
  return on_engine<bool>(
      info.Env(), [file](TrainSession& s) { return s.save_adapter(file), true; },
      [](Napi::Env env, bool&&) { return env.Undefined(); });
}

Napi::Value TrainerObject::save_state(const Napi::CallbackInfo& info) {
  const std::string file = info[0].As<Napi::String>().Utf8Value();
  return on_engine<bool>(
      info.Env(), [file](TrainSession& s) { return s.save_state(file), true; },
      [](Napi::Env env, bool&&) { return env.Undefined(); });
}

Napi::Value TrainerObject::restore(const Napi::CallbackInfo& info) {
  const std::string file = info[0].As<Napi::String>().Utf8Value();
  return on_engine<int64_t>(
      info.Env(),
      [file](TrainSession& s) {
        s.restore(file);
        return s.steps_done();
      },
      [](Napi::Env env, int64_t&& steps) -> Napi::Value { return Napi::Number::New(env, double(steps)); });
}

Napi::Value TrainerObject::agree(const Napi::CallbackInfo& info) {
  const double value = info[0].As<Napi::Number>().DoubleValue();
  return on_engine<double>(
      info.Env(),
      [value](TrainSession& s) {
        std::vector<double> largest = {value};
        s.world().all_reduce(largest, Reduce::max);
        return largest[0];
      },
      [](Napi::Env env, double&& v) -> Napi::Value { return Napi::Number::New(env, v); });
}

Napi::Value TrainerObject::exchange(const Napi::CallbackInfo& info) {
  const std::string text = info[0].As<Napi::String>().Utf8Value();
  return on_engine<std::vector<std::string>>(
      info.Env(), [text](TrainSession& s) { return s.world().all_gather(text); },
      [](Napi::Env env, std::vector<std::string>&& texts) -> Napi::Value {
        Napi::Array to = Napi::Array::New(env, texts.size());
        for (uint32_t i = 0; i < texts.size(); ++i) to.Set(i, texts[i]);
        return to;
      });
}

Napi::Value TrainerObject::leave(const Napi::CallbackInfo& info) {
  return on_engine<bool>(
      info.Env(), [](TrainSession& s) { return s.world().leave(), true; },
      [](Napi::Env env, bool&&) { return env.Undefined(); });
}

Napi::Value TrainerObject::abort_ranks(const Napi::CallbackInfo& info) {
  abort_world("", info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

Napi::Value TrainerObject::find_mpi(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value { return Napi::String::New(env, mpi_library("")); });
}

Napi::Value TrainerObject::facts(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object to = Napi::Object::New(env);
  Trainer& trainer = shared_->session->trainer();
  to.Set("numTrained", double(trainer.trainable().store.numel()));
  to.Set("peakBytes", double(trainer.peak_bytes()));
  to.Set("memoryPlan", trainer.memory_plan());
  to.Set("rank", trainer.world().rank());
  to.Set("numRanks", trainer.world().size());
  to.Set("zero", trainer.zero());
  to.Set("trainsProjector", trainer.trainable().trains_projector);
  to.Set("numFixed", double(shared_->session->num_fixed()));
  to.Set("rewardMean", trainer.reward_mean().mean);
  const Volume& v = trainer.world().volume();
  Napi::Object volume = Napi::Object::New(env);
  volume.Set("calls", double(v.calls));
  volume.Set("payloadBytes", double(v.payload_bytes));
  volume.Set("sentBytes", v.sent_bytes);
  volume.Set("waitSeconds", v.wait_seconds);
  to.Set("volume", volume);
  return to;
}

void TrainerObject::cancel(const Napi::CallbackInfo&) { shared_->session->cancel(); }

Napi::Value TrainerObject::loss_needs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const std::string text = info[0].As<Napi::String>().Utf8Value();
    const std::vector<LossTerm> terms = parse_losses(text);
    const auto any = [&](bool LossInfo::* need) {
      return std::any_of(terms.begin(), terms.end(), [need](const LossTerm& t) { return t.info->*need; });
    };
    Napi::Object to = Napi::Object::New(env);
    // In a sum with others (but kto) a loss that takes both takes pairs.
    const bool takes_both =
        std::all_of(terms.begin(), terms.end(), [](const LossTerm& t) { return t.info->takes_both; });
    const bool takes_pairs = any(&LossInfo::takes_both) && !takes_both && !any(&LossInfo::needs_label);
    to.Set("reference", any(&LossInfo::needs_reference));
    to.Set("rejected", any(&LossInfo::needs_rejected) || takes_pairs);
    to.Set("rejectedOrLabel", takes_both);
    to.Set("rejectedImages", any(&LossInfo::needs_rejected_images));
    to.Set("label", any(&LossInfo::needs_label));
    to.Set("referencePoint", any(&LossInfo::needs_reference_point));
    Napi::Array reads = Napi::Array::New(env);
    for (const std::string_view name : hyperparameters_of(text)) reads.Set(reads.Length(), std::string(name));
    to.Set("hyperparameters", reads);
    return to;
  });
}

namespace {

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

}  // namespace

Napi::Value TrainerObject::mean_loss(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Napi::Object settings = info[0].As<Napi::Object>();
    const LossOptions options = loss_options_of(settings);
    const std::vector<LossTerm> terms = parse_losses(string_field(settings, "loss"), options);
    const Napi::Array list = info[1].As<Napi::Array>();
    std::vector<LossRow> rows;
    for (uint32_t i = 0; i < list.Length(); ++i) rows.push_back(loss_row_of(list.Get(i).As<Napi::Object>()));
    const Napi::Object given = info[2].As<Napi::Object>();
    const StepPoints points{number_field(given, "kl"), number_field(given, "rewardMean")};
    return Napi::Number::New(env, Objective{terms, options}.mean(rows, points));
  });
}

Napi::Value TrainerObject::merge_model(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    PolicyObject* policy = PolicyObject::Unwrap(info[0].As<Napi::Object>());
    const std::string dir = info[1].As<Napi::String>().Utf8Value();
    const DType dtype = info[2].As<Napi::String>().Utf8Value() == "f16" ? DType::f16 : DType::f32;
    auto result = std::make_shared<MergeResult>();
    auto [promise, done] =
        policy->promises()->make<std::monostate>(env, [result](Napi::Env env, std::monostate&&) -> Napi::Value {
          Napi::Object to = Napi::Object::New(env);
          to.Set("numMerged", double(result->num_merged));
          to.Set("relativeError", result->relative_error);
          to.Set("untied", result->untied);
          return to;
        });
    policy->engine()->run([=](Context& ctx, Model& model) { *result = write_merged(ctx, model, dir, dtype); }, done);
    return promise;
  });
}

Napi::Value TrainerObject::loss_list(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array to = Napi::Array::New(env);
  const auto add = [&](std::string_view name, std::string_view source) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", std::string(name));
    entry.Set("source", std::string(source));
    to.Set(to.Length(), entry);
  };
  for (const LossInfo& loss : losses()) add(loss.name, loss.source);
  for (const LossSum& sum : loss_sums()) add(sum.name, sum.source);
  return to;
}

Napi::Value TrainerObject::linear_paths(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    PolicyObject* policy = PolicyObject::Unwrap(info[0].As<Napi::Object>());
    auto paths = std::make_shared<std::vector<std::string>>();
    auto [promise, done] =
        policy->promises()->make<std::monostate>(env, [paths](Napi::Env env, std::monostate&&) -> Napi::Value {
          Napi::Array to = Napi::Array::New(env, paths->size());
          for (uint32_t i = 0; i < paths->size(); ++i) to.Set(i, (*paths)[i]);
          return to;
        });
    policy->engine()->run(
        [paths](Context&, Model& model) {
          for (size_t layer = 0; layer < model.weights.layers.size(); ++layer)
            for (const LinearInfo& linear : kLinears)
              paths->push_back(layer_path(model.config, layer) + "." + linear.path);
        },
        done);
    return promise;
  });
}

Napi::Value TrainerObject::linear_list(const Napi::CallbackInfo& info) {
  Napi::Array to = Napi::Array::New(info.Env());
  for (const LinearInfo& linear : kLinears) to.Set(to.Length(), linear.name);
  return to;
}

}  // namespace vpref::addon
