// SPDX-License-Identifier: Apache-2.0
// What a checkpoint takes in one form of its weights: the engine's own code run without reading or computing anything.
#pragma once
#include <napi.h>

namespace vpref::addon {

// planForm(options: EngineOptions, step: {settings: TrainerSettings, pair: Int32Array, cachedTokens, freeBytes,
// share}): {stored, dtype, storedDtype, weightBytes, samplingBytes, stepBytes, level, freeBytes, totalBytes}
Napi::Value plan_form(const Napi::CallbackInfo& info);

}  // namespace vpref::addon
