// SPDX-License-Identifier: Apache-2.0
// A loaded model as a JavaScript object: generate, score, cancel.
#pragma once
#include <napi.h>

#include <memory>

#include "addon/promise_worker.h"
#include "infer/engine.h"

namespace vpref::addon {

class PolicyObject : public Napi::ObjectWrap<PolicyObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit PolicyObject(const Napi::CallbackInfo& info);
  ~PolicyObject() override;

  // For a trainer of the same model. Throws Error{"closed"} after close().
  std::shared_ptr<Engine> engine() const;
  std::shared_ptr<PromiseQueue> promises() const { return promises_; }

 private:
  static Napi::Value load(const Napi::CallbackInfo& info);  // (options) -> Promise<Policy>
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value layout(const Napi::CallbackInfo& info);  // (image shape) -> {runs, numRows, numFeatures}
  Napi::Value memory_plan(const Napi::CallbackInfo& info);
  // generate, score: (request) -> {id, promise}. `read` and `write` convert request and result; `start` is the
  // engine's.
  template <auto read, auto start, auto write>
  Napi::Value submit(const Napi::CallbackInfo& info);
  void cancel(const Napi::CallbackInfo& info);          // (id)
  void pace(const Napi::CallbackInfo& info);            // (boolean)
  Napi::Value advance(const Napi::CallbackInfo& info);  // () -> Promise: settled after the requests that ended
  Napi::Value close(const Napi::CallbackInfo& info);    // () -> Promise: waiting requests end as cancelled

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<PromiseQueue> promises_;
};

}  // namespace vpref::addon
