// SPDX-License-Identifier: Apache-2.0
// All exports of the addon; src/engine/native.ts has the same list with types.
#include <napi.h>

#include "addon/form_plan.h"
#include "addon/functions.h"
#include "addon/machine.h"
#include "addon/policy_object.h"
#include "addon/trainer_object.h"

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  using namespace vpref::addon;
  exports.Set("Policy", PolicyObject::define(env));
  exports.Set("Trainer", TrainerObject::define(env));
  exports.Set("lossNeeds", Napi::Function::New(env, loss_needs));
  exports.Set("meanLoss", Napi::Function::New(env, mean_loss));
  exports.Set("mergeModel", Napi::Function::New(env, merge_model));
  exports.Set("abortRanks", Napi::Function::New(env, abort_ranks));
  exports.Set("mpiLibrary", Napi::Function::New(env, mpi_library_text));
  exports.Set("planForm", Napi::Function::New(env, plan_form));
  exports.Set("linears", Napi::Function::New(env, list_linears));
  exports.Set("linearPaths", Napi::Function::New(env, linear_paths));
  exports.Set("losses", Napi::Function::New(env, list_losses));
  exports.Set("hyperparameters", Napi::Function::New(env, list_hyperparameters));
  exports.Set("buildInfo", Napi::Function::New(env, build_info));
  exports.Set("probeDevice", Napi::Function::New(env, probe_device));
  return exports;
}

NODE_API_MODULE(vpref, init)
