// SPDX-License-Identifier: Apache-2.0
// Allocation and copies on a device. memory.cc serves the CPU; backend/cuda/memory.cu adds the GPU through the hooks below.
#pragma once
#include <cstddef>

#include "core/context.h"

namespace vpref {

void* device_alloc(Device device, size_t bytes);  // 64-byte aligned; throws Error{"memory"}
void device_free(Device device, void* data);
void device_zero(Device device, void* data, size_t bytes);
// Host <-> device copies that are complete on return; plain memcpy on the CPU.
void copy_to_device(Context& ctx, void* device_data, const void* host, size_t bytes);
void copy_to_host(Context& ctx, void* host, const void* device_data, size_t bytes);
void copy_on_device(Context& ctx, void* to, const void* from, size_t bytes);

#ifdef VPREF_CUDA
namespace cuda {
void* alloc(size_t bytes);
void free(void* data);
void zero(void* data, size_t bytes);
void copy_to_device(Context& ctx, void* device_data, const void* host, size_t bytes);
void copy_to_host(Context& ctx, void* host, const void* device_data, size_t bytes);
void copy_on_device(Context& ctx, void* to, const void* from, size_t bytes);
}  // namespace cuda
#endif

}  // namespace vpref
