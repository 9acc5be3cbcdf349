// SPDX-License-Identifier: Apache-2.0
#include "core/memory.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "core/error.h"

#ifdef VPREF_CUDA
#define VPREF_ON_CUDA(device, call) \
  if ((device) == Device::cuda) return cuda::call
#else
#define VPREF_ON_CUDA(device, call) \
  if ((device) == Device::cuda) throw Error("device", "device cuda: this engine was built without CUDA")
#endif

namespace vpref {

void* device_alloc(Device device, size_t bytes) {
  VPREF_ON_CUDA(device, alloc(bytes));
  void* p = std::aligned_alloc(64, (bytes + 63) & ~size_t(63));
  check(p != nullptr, "memory", "out of memory: could not get ", bytes, " bytes");
  return p;
}

void device_free(Device device, void* data) {
  VPREF_ON_CUDA(device, free(data));
  std::free(data);
}

void device_zero(Device device, void* data, size_t bytes) {
  VPREF_ON_CUDA(device, zero(data, bytes));
  std::memset(data, 0, bytes);
}

void copy_to_device(Context& ctx, void* device_data, const void* host, size_t bytes) {
  VPREF_ON_CUDA(ctx.device, copy_to_device(ctx, device_data, host, bytes));
  std::memcpy(device_data, host, bytes);
}

void copy_to_host(Context& ctx, void* host, const void* device_data, size_t bytes) {
  VPREF_ON_CUDA(ctx.device, copy_to_host(ctx, host, device_data, bytes));
  std::memcpy(host, device_data, bytes);
}

void copy_on_device(Context& ctx, void* to, const void* from, size_t bytes) {
  VPREF_ON_CUDA(ctx.device, copy_on_device(ctx, to, from, bytes));
  std::memmove(to, from, bytes);
}

void synchronize([[maybe_unused]] Context& ctx) {
  if (ctx.device == Device::cpu) return;
  VPREF_ON_CUDA(ctx.device, synchronize(ctx));
}

void write_to_device(Context& ctx, void* device_data, size_t bytes, size_t unit, const std::function<void(void* to, size_t begin, size_t count)>& write) {
  VPREF_ON_CUDA(ctx.device, write_to_device(ctx, device_data, bytes, unit, write));
  write(device_data, 0, bytes);
}

MemorySize memory_size(Device device) {
  VPREF_ON_CUDA(device, memory_size());
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  return {size_t(sysconf(_SC_AVPHYS_PAGES)) * page, size_t(sysconf(_SC_PHYS_PAGES)) * page};
}

}  // namespace vpref
