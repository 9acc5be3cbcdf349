// SPDX-License-Identifier: Apache-2.0
// Converts JavaScript values to the trainer's rows and settings, and its results to JavaScript, as convert.h does.
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
