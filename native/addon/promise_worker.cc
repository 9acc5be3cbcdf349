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
  // When the process ends, Node releases the function before it finalizes our objects; it is not used after that.
  auto* kept = new std::shared_ptr<PromiseQueue>(queue);
  queue->function_ =
      Napi::ThreadSafeFunction::New(env, nothing, "vpref", /*max_queue_size=*/0, /*initial_thread_count=*/1, kept,
                                    [](Napi::Env, std::shared_ptr<PromiseQueue>* kept) {
                                      {
                                        std::lock_guard lock((*kept)->mutex_);
                                        (*kept)->open_ = false;
                                      }
                                      delete kept;
                                    });
  queue->function_.Unref(env);
  return queue;
}

void PromiseQueue::close() {
  std::lock_guard lock(mutex_);
  if (open_ && !released_) function_.Release();
  released_ = true;
}

void PromiseQueue::begin(Napi::Env env) {
  if (pending_++ == 0 && open_) function_.Ref(env);
}

void PromiseQueue::end(Napi::Env env) {
  if (--pending_ == 0 && open_) function_.Unref(env);
}

void PromiseQueue::post(Closure closure) {
  std::lock_guard lock(mutex_);
  if (!open_) return;
  auto* carried = new Closure(std::move(closure));
  const napi_status status = function_.NonBlockingCall(carried, [](Napi::Env env, Napi::Function, Closure* carried) {
    // env is null when the process ends: the promise is not needed any more.
    if (env != nullptr) (*carried)(env);
    delete carried;
  });
  if (status != napi_ok) delete carried;
}

}  // namespace vpref::addon
