// SPDX-License-Identifier: Apache-2.0
// Host data on its way to the device: one ring of pinned pieces for every copy, one ring of device memory for what an op takes from the host.
//
// Which operands live where is the same for all ops: every Tensor is device memory (indices, positions, targets and drawn tokens too); AttentionPlan
// and SampleParams are host objects, and an op brings them over with upload(). What it derives from an AttentionPlan it keeps in plan.cache, since
// every layer of a step calls with the same plan.
#pragma once
#include <vector>

#include "core/context.h"

namespace vpref::cuda {

// A small host array as device memory for the kernels queued on ctx.stream next; 256-byte aligned. The host array may go at once. The place is used
// again after kUploadBytes of further uploads: an op that needs it for longer copies into a Buffer of its own (copy_to_device).
const void* upload(Context& ctx, const void* host, size_t bytes);
constexpr size_t kUploadBytes = size_t(8) << 20;

template <class T>
const T* upload(Context& ctx, const std::vector<T>& host) {
  return static_cast<const T*>(upload(ctx, host.data(), host.size() * sizeof(T)));
}

}  // namespace vpref::cuda
