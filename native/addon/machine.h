// SPDX-License-Identifier: Apache-2.0
// The backends of this build and machine, for `vpref doctor`.
#pragma once
#include <napi.h>

namespace vpref::addon {

// () -> {backends, matrixLibrary, cpuFeatures, mpi, compiler}
Napi::Value build_info(const Napi::CallbackInfo& info);
// (device) -> {op, maxError, seconds}: one linear layer through op and backend against plain sums in f64. Throws
// EngineError.
Napi::Value probe_device(const Napi::CallbackInfo& info);

}  // namespace vpref::addon
