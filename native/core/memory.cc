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
  if (ctx.measuring()) return;
  VPREF_ON_CUDA(ctx.device, copy_to_device(ctx, device_data, host, bytes));
  std::memcpy(device_data, host, bytes);
}

void copy_to_host(Context& ctx, void* host, const void* device_data, size_t bytes) {
  if (ctx.measuring()) return;
  VPREF_ON_CUDA(ctx.device, copy_to_host(ctx, host, device_data, bytes));
  std::memcpy(host, device_data, bytes);
}

void copy_on_device(Context& ctx, void* to, const void* from, size_t bytes) {
  if (ctx.measuring()) return;
  VPREF_ON_CUDA(ctx.device, copy_on_device(ctx, to, from, bytes));
  std::memmove(to, from, bytes);
}

void synchronize([[maybe_unused]] Context& ctx) {
  if (ctx.device == Device::cpu || ctx.measuring()) return;
  VPREF_ON_CUDA(ctx.device, synchronize(ctx));
}

void write_to_device(Context& ctx, void* device_data, size_t bytes, [[maybe_unused]] size_t unit,
                     const std::function<void(void* to, size_t begin, size_t count)>& write) {
  if (ctx.measuring()) return;
  VPREF_ON_CUDA(ctx.device, write_to_device(ctx, device_data, bytes, unit, write));
  write(device_data, 0, bytes);
}

#ifdef VPREF_CUDA
Download::~Download() {
  if (device_ == Device::cpu)
    std::free(host_);
  else if (host_)
    cuda::pinned_free(host_);
  if (done_) cuda::event_destroy(done_);
}

void Download::start(Context& ctx, const void* device_data, size_t bytes) {
  if (ctx.measuring()) return;
  const bool cpu = device_ == Device::cpu;
  if (bytes > capacity_) {
    if (host_) cpu ? std::free(host_) : cuda::pinned_free(host_);
    host_ = nullptr;
    capacity_ = 0;
    host_ = cpu ? device_alloc(Device::cpu, bytes) : cuda::pinned_alloc(bytes);
    capacity_ = bytes;
  }
  if (cpu) {
    std::memcpy(host_, device_data, bytes);
    return;
  }
  if (!done_) done_ = cuda::event_create();
  cuda::copy_to_pinned(ctx, host_, device_data, bytes, done_);
}

const void* Download::wait() {
  if (done_) cuda::event_wait(done_);
  return host_;
}
#else
Download::~Download() { std::free(host_); }

void Download::start(Context& ctx, const void* device_data, size_t bytes) {
  if (ctx.measuring()) return;
  if (bytes > capacity_) {
    std::free(host_);
    host_ = device_alloc(Device::cpu, bytes);
    capacity_ = bytes;
  }
  std::memcpy(host_, device_data, bytes);
}

const void* Download::wait() { return host_; }
#endif

MemorySize memory_size(Device device) {
  VPREF_ON_CUDA(device, memory_size());
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  return {size_t(sysconf(_SC_AVPHYS_PAGES)) * page, size_t(sysconf(_SC_PHYS_PAGES)) * page};
}

}  // namespace vpref
