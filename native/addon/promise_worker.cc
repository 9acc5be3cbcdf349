// SPDX-License-Identifier: Apache-2.0
#include "addon/promise_worker.h"

namespace vpref::addon {

Napi::Error engine_error(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  error.Set("engine", Napi::Boolean::New(env, true));
  return error;
}

std::shared_ptr<PromiseQueue> PromiseQueue::create(Napi::Env env) {
  std::shared_ptr<PromiseQueue> queue(new PromiseQueue());
  auto nothing = Napi::Function::New(env, [](const Napi::CallbackInfo&) {});
  queue->function_ = Napi::ThreadSafeFunction::New(env, nothing, "vpref", /*max_queue_size=*/0, /*initial_thread_count=*/1);
  queue->function_.Unref(env);
  return queue;
}

void PromiseQueue::close() {
  if (!closed_) function_.Release();
  closed_ = true;
}

void PromiseQueue::begin(Napi::Env env) {
  if (pending_++ == 0) function_.Ref(env);
}

void PromiseQueue::end(Napi::Env env) {
  if (--pending_ == 0) function_.Unref(env);
}

void PromiseQueue::post(Closure closure) {
  auto* carried = new Closure(std::move(closure));
  const napi_status status = function_.NonBlockingCall(carried, [](Napi::Env env, Napi::Function, Closure* carried) {
    // env is null when the process is going down: nobody waits any more.
    if (env != nullptr) (*carried)(env);
    delete carried;
  });
  if (status != napi_ok) delete carried;
}

}  // namespace vpref::addon
