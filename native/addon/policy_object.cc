// SPDX-License-Identifier: Apache-2.0
#include "addon/policy_object.h"

#include "addon/convert.h"

namespace vpref::addon {
namespace {

// What `new Policy` gets from load().
struct Loaded {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<PromiseQueue> promises;
};

Napi::Object request_object(const Napi::CallbackInfo& info) {
  if (info.Length() < 1 || !info[0].IsObject()) throw Napi::TypeError::New(info.Env(), "[addon] expected an object");
  return info[0].As<Napi::Object>();
}

// {id, promise}. A request that the engine refuses rejects its promise, like one that fails later.
template <class T, class Queue>
Napi::Value submit(Napi::Env env, PromiseQueue& promises, std::function<Napi::Value(Napi::Env, T&&)> convert,
                   Queue&& queue) {
  auto [promise, done] = promises.make<T>(env, std::move(convert));
  Engine::RequestId id = 0;
  try {
    id = queue(done);
  } catch (const Error& error) {
    done(error);
  }
  Napi::Object to = Napi::Object::New(env);
  to.Set("id", double(id));
  to.Set("promise", promise);
  return to;
}

}  // namespace

Napi::Function PolicyObject::define(Napi::Env env) {
  Napi::Function constructor = DefineClass(env, "Policy",
                                           {
                                               StaticMethod("load", &PolicyObject::load),
                                               InstanceMethod("info", &PolicyObject::info),
                                               InstanceMethod("layout", &PolicyObject::layout),
                                               InstanceMethod("memoryPlan", &PolicyObject::memory_plan),
                                               InstanceMethod("generate", &PolicyObject::generate),
                                               InstanceMethod("score", &PolicyObject::score),
                                               InstanceMethod("cancel", &PolicyObject::cancel),
                                               InstanceMethod("pace", &PolicyObject::pace),
                                               InstanceMethod("advance", &PolicyObject::advance),
                                               InstanceMethod("close", &PolicyObject::close),
                                           });
  return constructor;
}

PolicyObject::PolicyObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PolicyObject>(info) {
  if (info.Length() != 1 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "[addon] use Policy.load(options)");
  const Loaded& loaded = *info[0].As<Napi::External<Loaded>>().Data();
  engine_ = loaded.engine;
  promises_ = loaded.promises;
}

PolicyObject::~PolicyObject() {
  engine_.reset();  // its last callbacks still need the queue
  if (promises_) promises_->close();
}

std::shared_ptr<Engine> PolicyObject::engine() const {
  check(engine_ != nullptr, "closed", "the model is closed");
  return engine_;
}

Napi::Value PolicyObject::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  EngineOptions options = engine_options(request_object(info));
  auto promises = PromiseQueue::create(env);
  auto constructor = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info.This().As<Napi::Function>()));
  return promises->run<std::shared_ptr<Engine>>(
      env, [options = std::move(options)] { return std::make_shared<Engine>(options); },
      [promises, constructor](Napi::Env env, std::shared_ptr<Engine>&& engine) -> Napi::Value {
        Loaded loaded{std::move(engine), promises};
        return constructor->New({Napi::External<Loaded>::New(env, &loaded)});
      });
}

Napi::Value PolicyObject::info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return info_value(info.Env(), engine()->info()); });
}

Napi::Value PolicyObject::layout(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const ImageShape shape = image_shape_of(request_object(info));
    return layout_value(info.Env(), engine()->layout(shape), engine()->num_features(shape));
  });
}

Napi::Value PolicyObject::memory_plan(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), engine()->memory_plan()); });
}

Napi::Value PolicyObject::generate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    auto target = engine();
    GenerateRequest request = generate_request(request_object(info));
    return submit<GenerateResult>(
        env, *promises_, [](Napi::Env env, GenerateResult&& result) { return generate_value(env, result); },
        [&](auto done) { return target->generate(std::move(request), std::move(done)); });
  });
}

Napi::Value PolicyObject::score(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    auto target = engine();
    ScoreRequest request = score_request(request_object(info));
    return submit<ScoreResult>(
        env, *promises_, [](Napi::Env env, ScoreResult&& result) { return score_value(env, result); },
        [&](auto done) { return target->score(std::move(request), std::move(done)); });
  });
}

void PolicyObject::cancel(const Napi::CallbackInfo& info) {
  if (engine_ && info.Length() == 1 && info[0].IsNumber())
    engine_->cancel(Engine::RequestId(info[0].As<Napi::Number>().Int64Value()));
}

void PolicyObject::pace(const Napi::CallbackInfo& info) {
  if (engine_ && info.Length() == 1 && info[0].IsBoolean()) engine_->pace(info[0].As<Napi::Boolean>().Value());
}

Napi::Value PolicyObject::advance(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    auto target = engine();
    auto [promise, done] = promises_->make<bool>(env, [](Napi::Env env, bool&&) { return env.Undefined(); });
    target->advance([done = done] { done(true); });
    return promise;
  });
}

Napi::Value PolicyObject::close(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  // The engine's thread is joined off Node's thread, so that its callbacks can still be settled.
  return promises_->run<bool>(
      env,
      [engine = std::exchange(engine_, nullptr)]() mutable {
        engine.reset();
        return true;
      },
      [](Napi::Env env, bool&&) { return env.Undefined(); });
}

}  // namespace vpref::addon
