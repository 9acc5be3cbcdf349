// SPDX-License-Identifier: Apache-2.0
// Converts JavaScript values to the trainer's rows and settings, and its results to JavaScript, as convert.h does.
#pragma once
#include <napi.h>

#include <string>
#include <variant>
#include <vector>

#include "train/session.h"

namespace vpref::addon {

TrainerOptions options_of(const Napi::Object& from);
LossOptions loss_options_of(const Napi::Object& from);
LossRow loss_row_of(const Napi::Object& from);

// An argument of a TrainSession method.
template <class T>
T argument(const Napi::Value& from);
template <>
bool argument(const Napi::Value& from);
template <>
double argument(const Napi::Value& from);
template <>
int64_t argument(const Napi::Value& from);  // Infinity: kNoLimit
template <>
std::string argument(const Napi::Value& from);
template <>
std::vector<int64_t> argument(const Napi::Value& from);  // an Int32Array
template <>
std::vector<RowSize> argument(const Napi::Value& from);  // an Int32Array of five sizes a row
template <>
std::vector<SessionRow> argument(const Napi::Value& from);

// Its result.
Napi::Value result_value(Napi::Env env, std::monostate);
Napi::Value result_value(Napi::Env env, double result);
Napi::Value result_value(Napi::Env env, int64_t result);
Napi::Value result_value(Napi::Env env, const std::vector<std::string>& result);
Napi::Value result_value(Napi::Env env, const MemoryPlan& result);
Napi::Value result_value(Napi::Env env, const std::vector<RowResult>& result);
Napi::Value result_value(Napi::Env env, const StepResult& result);

}  // namespace vpref::addon
