// SPDX-License-Identifier: Apache-2.0
// Allocation and copies on a device. memory.cc is the CPU's implementation; backend/cuda/memory.cu implements the hooks
// below.
#pragma once
#include <cstddef>
#include <functional>

#include "core/context.h"

namespace vpref {

void* device_alloc(Device device, size_t bytes);  // 64-byte aligned; throws Error{"memory"}
void device_free(Device device, void* data);
void device_zero(Device device, void* data, size_t bytes);

// Copies between host and device, in order with the ops of ctx.stream; nothing is copied while ctx measures. To the
// device: the host bytes may be changed after the return, even if the copy is not complete. To the host: the copy, and
// every op queued before it, is complete at the return.
void copy_to_device(Context& ctx, void* device_data, const void* host, size_t bytes);
void copy_to_host(Context& ctx, void* host, const void* device_data, size_t bytes);
void copy_on_device(Context& ctx, void* to, const void* from, size_t bytes);

// Waits until everything queued on ctx.stream has run. Throws the error of a failed op.
void synchronize(Context& ctx);

// Writes device memory in chunks. write(to, begin, count) fills bytes [begin, begin + count) at `to`: memory that the
// device can copy from. On the CPU it is the destination itself, in one call. One chunk is copied while the next one is
// written. Chunk sizes are multiples of `unit`.
void write_to_device(Context& ctx, void* device_data, size_t bytes, size_t unit,
                     const std::function<void(void* to, size_t begin, size_t count)>& write);

// An asynchronous copy from the device to the host.
class Download {
 public:
  explicit Download(Device device) : device_(device) {}
  ~Download();
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;
  // Queues the copy on ctx.stream. It overwrites the result of an earlier start().
  void start(Context& ctx, const void* device_data, size_t bytes);
  // Waits for the copy and returns the bytes.
  const void* wait();

 private:
  Device device_;
  void* host_ = nullptr;
  void* done_ = nullptr;
  size_t capacity_ = 0;
};

// Main memory on the CPU, GPU memory on CUDA.
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
