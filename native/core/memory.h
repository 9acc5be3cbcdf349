// SPDX-License-Identifier: Apache-2.0
// Allocation and copies on a device. memory.cc serves the CPU; backend/cuda/memory.cu adds the GPU through the hooks
// below.
#pragma once
#include <cstddef>
#include <functional>

#include "core/context.h"

namespace vpref {

void* device_alloc(Device device, size_t bytes);  // 64-byte aligned; throws Error{"memory"}
void device_free(Device device, void* data);
void device_zero(Device device, void* data, size_t bytes);

// Copies between host and device, none while ctx measures, in order with the ops of ctx.stream. Into the device: the
// host bytes may be changed on return, the copy may still be under way. Into the host: complete on return, and with it
// every op queued before.
void copy_to_device(Context& ctx, void* device_data, const void* host, size_t bytes);
void copy_to_host(Context& ctx, void* host, const void* device_data, size_t bytes);
void copy_on_device(Context& ctx, void* to, const void* from, size_t bytes);

// Returns when everything queued on ctx.stream has run; a failure of it is thrown here.
void synchronize(Context& ctx);

// Device memory that is written by the host piece by piece: write(to, begin, count) puts bytes [begin, begin + count)
// at `to`, which is memory that the device can copy from (the memory itself on the CPU, one call). While a piece is
// copied the next one is written. Pieces are whole multiples of `unit`.
void write_to_device(Context& ctx, void* device_data, size_t bytes, size_t unit,
                     const std::function<void(void* to, size_t begin, size_t count)>& write);

// Device bytes that come to the host while the host goes on.
class Download {
 public:
  explicit Download(Device device) : device_(device) {}
  ~Download();
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;
  // Queues the copy behind what ctx.stream has; what an earlier start() brought is gone.
  void start(Context& ctx, const void* device_data, size_t bytes);
  // The bytes, once they have come.
  const void* wait();

 private:
  Device device_;
  void* host_ = nullptr;
  void* done_ = nullptr;
  size_t capacity_ = 0;
};

// The machine's memory on the CPU, the GPU's own on CUDA.
struct MemorySize {
  size_t free, total;
};
MemorySize memory_size(Device device);

#ifdef VPREF_CUDA
namespace cuda {
void* alloc(size_t bytes);
void free(void* data);
void zero(void* data, size_t bytes);
void copy_to_device(Context& ctx, void* device_data, const void* host, size_t bytes);
void copy_to_host(Context& ctx, void* host, const void* device_data, size_t bytes);
void copy_on_device(Context& ctx, void* to, const void* from, size_t bytes);
void write_to_device(Context& ctx, void* device_data, size_t bytes, size_t unit,
                     const std::function<void(void* to, size_t begin, size_t count)>& write);
MemorySize memory_size();
void synchronize(Context& ctx);
// Pinned host memory with an event, for Download.
void* pinned_alloc(size_t bytes);
void pinned_free(void* host);
void* event_create();
void event_destroy(void* event);
void copy_to_pinned(Context& ctx, void* pinned, const void* device_data, size_t bytes, void* event);
void event_wait(void* event);
}  // namespace cuda
#endif

}  // namespace vpref
