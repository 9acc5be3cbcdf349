// SPDX-License-Identifier: Apache-2.0
#include "addon/trainer_object.h"

#include <cmath>
#include <optional>

#include "addon/convert.h"
#include "addon/policy_object.h"
#include "addon/train_convert.h"

namespace vpref::addon {

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
                         InstanceMethod("info", &TrainerObject::info),
                         InstanceMethod("cancel", &TrainerObject::cancel),
                     });
}

TrainerObject::Shared::~Shared() {
  if (!session) return;
  // The running job may use the session's buffers, so the session is deleted after it, on the same thread.
  auto* last = session.release();
  try {
    engine->run([last](Context&, Model&) { delete last; }, [](Outcome<std::monostate>) {});
  } catch (const Error&) {
    delete last;  // the engine is closed, so no job runs
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
                             .device = shared->engine->info().device,
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
        env, [rows](TrainSession& s) { return s.step(std::move(*rows)); },
        [has_mean = has_reward_mean()](Napi::Env env, StepResult&& r) { return step_value(env, r, has_mean); });
  });
}

Napi::Value TrainerObject::score(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    auto rows = std::make_shared<std::vector<SessionRow>>(rows_of(info[0].As<Napi::Array>()));
    const bool on = info[1].As<Napi::Boolean>().Value();
    return on_engine<std::vector<RowResult>>(
        env, [rows, on](TrainSession& s) { return s.score(std::move(*rows), on); },
        [](Napi::Env env, std::vector<RowResult>&& r) { return sums_value(env, r); });
  });
}

Napi::Value TrainerObject::save_gradients(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    auto rows = std::make_shared<std::vector<SessionRow>>(rows_of(info[0].As<Napi::Array>()));
    const std::string file = info[1].As<Napi::String>().Utf8Value();
    return on_engine<StepResult>(
        env, [rows, file](TrainSession& s) { return s.save_gradients(std::move(*rows), file); },
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

Napi::Value TrainerObject::info(const Napi::CallbackInfo& info) {
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

}  // namespace vpref::addon
