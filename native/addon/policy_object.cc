// SPDX-License-Identifier: Apache-2.0
#include "addon/policy_object.h"

#include "addon/convert.h"

namespace vpref::addon {
namespace {

// The argument of `new Policy` in load().
struct Loaded {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<PromiseQueue> promises;
};

Napi::Object request_object(const Napi::CallbackInfo& info) {
  if (info.Length() < 1 || !info[0].IsObject()) throw Napi::TypeError::New(info.Env(), "[addon] expected an object");
  return info[0].As<Napi::Object>();
}

// The result that a function converts.
template <class Result>
Result written_by(Napi::Value (*)(Napi::Env, const Result&));

}  // namespace

Napi::Function PolicyObject::define(Napi::Env env) {
  Napi::Function constructor = DefineClass(
      env, "Policy",
      {
          StaticMethod("load", &PolicyObject::load),
          InstanceMethod("info", &PolicyObject::info),
          InstanceMethod("layout", &PolicyObject::layout),
          InstanceMethod("memoryPlan", &PolicyObject::memory_plan),
          InstanceMethod("generate", &PolicyObject::submit<generate_request, &Engine::generate, generate_value>),
          InstanceMethod("score", &PolicyObject::submit<score_request, &Engine::score, score_value>),
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
  engine_.reset();  // first, because its last callbacks need the queue
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

// A request that the engine refuses rejects its promise, as one that fails later.
template <auto read, auto start, auto write>
Napi::Value PolicyObject::submit(const Napi::CallbackInfo& info) {
  using Result = decltype(written_by(write));
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    auto request = read(request_object(info));
    auto [promise, done] =
        promises_->make<Result>(env, [](Napi::Env env, Result&& result) { return write(env, result); });
    Engine::RequestId id = 0;
    try {
      id = (*engine().*start)(std::move(request), done);
    } catch (const Error& error) {
      done(error);
    }
    Napi::Object to = Napi::Object::New(env);
    to.Set("id", double(id));
    to.Set("promise", promise);
    return to;
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
  // The engine's thread is joined on another thread, so that Node's thread can settle its last promises.
  return promises_->run<bool>(
      env,
      [engine = std::exchange(engine_, nullptr)]() mutable {
        engine.reset();
        return true;
      },
      [](Napi::Env env, bool&&) { return env.Undefined(); });
}

}  // namespace vpref::addon
