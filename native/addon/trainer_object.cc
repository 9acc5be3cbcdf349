// SPDX-License-Identifier: Apache-2.0
#include "addon/trainer_object.h"

#include <functional>
#include <tuple>
#include <type_traits>

#include "addon/convert.h"
#include "addon/policy_object.h"
#include "addon/train_convert.h"

namespace vpref::addon {

template <auto method>
TrainerObject::PropertyDescriptor TrainerObject::session_method(const char* name) {
  return [name]<class R, class... Args>(R (TrainSession::*)(Args...)) {
    return InstanceMethod(name, &TrainerObject::on_engine<method, R, Args...>);
  }(method);
}

Napi::Function TrainerObject::define(Napi::Env env) {
  return DefineClass(env, "Trainer",
                     {
                         StaticMethod("create", &TrainerObject::create),
                         session_method<&TrainSession::plan>("plan"),
                         session_method<&TrainSession::step>("step"),
                         session_method<&TrainSession::score>("score"),
                         session_method<&TrainSession::save_gradients>("saveGradients"),
                         session_method<&TrainSession::save_adapter>("saveAdapter"),
                         session_method<&TrainSession::save_state>("saveState"),
                         session_method<&TrainSession::restore>("restore"),
                         session_method<&TrainSession::agree>("agree"),
                         session_method<&TrainSession::exchange>("exchange"),
                         session_method<&TrainSession::leave>("leave"),
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

// The arguments are read here; the job on the compute thread has them as its own.
template <auto method, class R, class... Args>
Napi::Value TrainerObject::on_engine(const Napi::CallbackInfo& info) {
  using Result = std::conditional_t<std::is_void_v<R>, std::monostate, R>;
  return guarded(info.Env(), [&]() -> Napi::Value {
    size_t next = 0;
    std::tuple<std::decay_t<Args>...> args{argument<std::decay_t<Args>>(info[next++])...};
    auto [promise, done] =
        promises_->make<Result>(info.Env(), [](Napi::Env env, Result&& result) { return result_value(env, result); });
    auto result = std::make_shared<Result>();
    shared_->engine->run(
        [result, shared = shared_, args = std::move(args)](Context&, Model&) mutable {
          const auto call = std::bind_front(method, shared->session.get());
          if constexpr (std::is_void_v<R>)
            std::apply(call, std::move(args));
          else
            *result = std::apply(call, std::move(args));
        },
        [result, done = std::move(done)](Outcome<std::monostate> outcome) {
          if (auto* error = std::get_if<Error>(&outcome))
            done(*error);
          else
            done(std::move(*result));
        });
    return promise;
  });
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
