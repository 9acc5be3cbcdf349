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
  // (sizes: Int32Array of [rows, targets, image rows, features] a row, stepEnds: Int32Array, freeBytes) ->
  // Promise<MemoryPlan>
  Napi::Value plan(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);            // (rows) -> Promise<StepResult>
  Napi::Value score(const Napi::CallbackInfo& info);           // (rows, adapterOn) -> Promise<RowSums[]>
  Napi::Value save_gradients(const Napi::CallbackInfo& info);  // (rows, file) -> Promise<StepResult>
  Napi::Value save_adapter(const Napi::CallbackInfo& info);    // (file) -> Promise<void>
  Napi::Value save_state(const Napi::CallbackInfo& info);      // (file) -> Promise<void>
  Napi::Value restore(const Napi::CallbackInfo& info);         // (file) -> Promise<number of steps done>
  Napi::Value agree(const Napi::CallbackInfo& info);           // (value) -> Promise<largest of all ranks>
  Napi::Value exchange(const Napi::CallbackInfo& info);        // (text) -> Promise<texts of all ranks, by rank>
  Napi::Value leave(const Napi::CallbackInfo& info);           // () -> Promise<void>: ends the ranks' communication
  Napi::Value info(const Napi::CallbackInfo& info);  // () -> {numTrained, peakBytes, memoryPlan, rank, numRanks, zero,
                                                     // rewardMean, volume}
  void cancel(const Napi::CallbackInfo& info);       // (): the running step ends unchanged

  template <class T>
  Napi::Value on_engine(Napi::Env env, std::function<T(TrainSession&)> work,
                        std::function<Napi::Value(Napi::Env, T&&)> convert);

  bool has_reward_mean() const { return shared_->session->trainer().has_reward_mean(); }

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<PromiseQueue> promises_;
};

}  // namespace vpref::addon
