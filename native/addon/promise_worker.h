// SPDX-License-Identifier: Apache-2.0
// Settles promises on Node's thread with results of the engine's threads.
#pragma once
#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include "core/error.h"

namespace vpref::addon {

// An Error object with `code` and `engine: true`; src/engine makes an EngineError of it.
Napi::Error engine_error(Napi::Env env, const std::string& code, const std::string& message);

// Runs `body` and throws its exceptions as JavaScript errors.
template <class Body>
auto guarded(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const Error& error) {
    throw engine_error(env, error.code(), error.what());
  } catch (const std::bad_alloc&) {
    throw engine_error(env, "memory", "out of memory");
  } catch (const std::exception& error) {
    throw engine_error(env, "internal", error.what());
  }
}

// Carries closures from any thread to Node's thread. Keeps the process alive while promises are pending.
class PromiseQueue : public std::enable_shared_from_this<PromiseQueue> {
 public:
  static std::shared_ptr<PromiseQueue> create(Napi::Env env);
  // Node's thread, once, after the last use.
  void close();

  // Node's thread: makes a promise, and the function that any thread calls once with the result.
  //   convert: makes a JavaScript value of T, on Node's thread.
  template <class T>
  std::pair<Napi::Promise, std::function<void(std::variant<T, Error>)>> make(
      Napi::Env env, std::function<Napi::Value(Napi::Env, T&&)> convert) {
    auto deferred = std::make_shared<Napi::Promise::Deferred>(Napi::Promise::Deferred::New(env));
    begin(env);
    auto self = shared_from_this();
    auto settle = [self, deferred, convert = std::move(convert)](std::variant<T, Error> outcome) {
      auto shared = std::make_shared<std::variant<T, Error>>(std::move(outcome));
      self->post([self, deferred, convert, shared](Napi::Env env) {
        Napi::HandleScope scope(env);
        try {
          if (auto* error = std::get_if<Error>(shared.get()))
            deferred->Reject(engine_error(env, error->code(), error->what()).Value());
          else
            deferred->Resolve(guarded(env, [&] { return convert(env, std::move(std::get<T>(*shared))); }));
        } catch (const Napi::Error& error) {
          deferred->Reject(error.Value());
        }
        self->end(env);
      });
    };
    return {deferred->Promise(), std::move(settle)};
  }

  // Node's thread: runs `work` on a new thread, for loading and closing.
  template <class T>
  Napi::Promise run(Napi::Env env, std::function<T()> work, std::function<Napi::Value(Napi::Env, T&&)> convert) {
    auto [promise, settle] = make<T>(env, std::move(convert));
    std::thread([work = std::move(work), settle = std::move(settle)] {
      try {
        settle(work());
      } catch (const Error& error) {
        settle(error);
      } catch (const std::bad_alloc&) {
        settle(Error("memory", "out of memory"));
      } catch (const std::exception& error) {
        settle(Error("internal", error.what()));
      }
    }).detach();
    return promise;
  }

 private:
  using Closure = std::function<void(Napi::Env)>;
  PromiseQueue() = default;
  void begin(Napi::Env env);
  void end(Napi::Env env);
  void post(Closure closure);

  Napi::ThreadSafeFunction function_;
  int pending_ = 0;  // Node's thread only
  std::mutex mutex_;
  bool open_ = true;       // the function is there; written on Node's thread
  bool released_ = false;  // close() was called
};

}  // namespace vpref::addon
