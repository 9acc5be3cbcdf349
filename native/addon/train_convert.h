// SPDX-License-Identifier: Apache-2.0
// JavaScript values to the trainer's rows and settings and its results back, as convert.h does for the engine.
#pragma once
#include <napi.h>

#include "train/session.h"

namespace vpref::addon {

std::vector<SessionRow> rows_of(const Napi::Array& from);
TrainerOptions options_of(const Napi::Object& from);
LossOptions loss_options_of(const Napi::Object& from);
LossRow loss_row_of(const Napi::Object& from);

Napi::Value sums_value(Napi::Env env, const std::vector<RowResult>& rows);
Napi::Value step_value(Napi::Env env, const StepResult& result, bool has_mean);

}  // namespace vpref::addon
