// SPDX-License-Identifier: Apache-2.0
// A model in training as a JavaScript object, over the same engine as its Policy.
#pragma once
#include <napi.h>

#include <memory>

#include "addon/promise_worker.h"
#include "infer/engine.h"
#include "train/session.h"

namespace vpref::addon {

class TrainerObject : public Napi::ObjectWrap<TrainerObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit TrainerObject(const Napi::CallbackInfo& info);

 private:
  // The session is made and deleted on the compute thread.
  struct Shared {
    std::shared_ptr<Engine> engine;
    std::unique_ptr<TrainSession> session;
    ~Shared();
  };

  static Napi::Value create(const Napi::CallbackInfo& info);  // (policy, settings, initAdapter) -> Promise<Trainer>
  Napi::Value info(const Napi::CallbackInfo& info);  // () -> {numTrained, peakBytes, memoryPlan, rank, numRanks, zero,
                                                     // rewardMean, volume}
  void cancel(const Napi::CallbackInfo& info);       // (): the running step ends unchanged

  // (arguments) -> Promise<result>: TrainSession's method on the compute thread. The types of its arguments and of its
  // result say how both are converted (train_convert.h).
  template <auto method>
  static PropertyDescriptor session_method(const char* name);
  template <auto method, class R, class... Args>
  Napi::Value on_engine(const Napi::CallbackInfo& info);

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<PromiseQueue> promises_;
};

}  // namespace vpref::addon
