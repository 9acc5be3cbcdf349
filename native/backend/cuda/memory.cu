// SPDX-License-Identifier: Apache-2.0
#include "core/memory.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "backend/cuda/check.h"
#include "core/arena.h"

namespace vpref::cuda {
namespace {

constexpr int kChunks = 4;
constexpr size_t kChunkBytes = size_t(8) << 20;

// Pinned chunks in rotation. A chunk is written again after the copies from it have run.
class Staging {
 public:
  Staging() = default;
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging() {
    if (memory_) cudaDeviceSynchronize();
    for (cudaEvent_t e : done_)
      if (e) cudaEventDestroy(e);
    if (memory_) cudaFreeHost(memory_);
  }

  // Returns room for `wanted` bytes, or for a whole chunk of units if that is less. `bytes` receives the size.
  std::byte* room(size_t wanted, size_t unit, size_t& bytes, cudaStream_t stream) {
    start(stream);
    wanted = std::min(wanted, kChunkBytes / unit * unit);
    if (kChunkBytes - used_ < wanted) next(stream);
    bytes = wanted;
    std::byte* at = memory_ + size_t(current_) * kChunkBytes + used_;
    used_ = std::min(kChunkBytes, used_ + aligned(wanted));
    return at;
  }

  // A whole chunk, and the event that is complete when its copies have run.
  struct Chunk {
    std::byte* data;
    cudaEvent_t done;
  };
  Chunk chunk(cudaStream_t stream) {
    start(stream);
    if (used_ > 0) next(stream);
    used_ = kChunkBytes;
    return {memory_ + size_t(current_) * kChunkBytes, done_[current_]};
  }

 private:
  void start(cudaStream_t stream) {
    if (!memory_) {
      void* p = nullptr;
      VPREF_CUDA_CHECK(cudaMallocHost(&p, kChunks * kChunkBytes));
      memory_ = static_cast<std::byte*>(p);
      for (cudaEvent_t& e : done_) VPREF_CUDA_CHECK(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
      stream_ = stream;
    }
    // A chunk's event is for one stream.
    if (stream != stream_ && used_ > 0) next(stream_);
    stream_ = stream;
  }
  void next(cudaStream_t stream) {
    VPREF_CUDA_CHECK(cudaEventRecord(done_[current_], stream));
    current_ = (current_ + 1) % kChunks;
    VPREF_CUDA_CHECK(cudaEventSynchronize(done_[current_]));  // returns at once if never recorded
    used_ = 0;
  }

  std::byte* memory_ = nullptr;
  cudaEvent_t done_[kChunks] = {};
  cudaStream_t stream_ = nullptr;
  int current_ = 0;
  size_t used_ = 0;
};

// Only one compute thread uses the device, so this thread_local is a singleton.
Staging& staging() {
  thread_local Staging s;
  return s;
}

void expect_not_capturing(const Context& ctx, const char* what) {
  check(!ctx.capturing(), "internal", what, " while launches are captured");
}

}  // namespace

void* alloc(size_t bytes) {
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free_bytes = 0, total = 0;
    cudaMemGetInfo(&free_bytes, &total);
    throw Error("memory",
                cat("out of GPU memory: could not get ", bytes, " bytes, ", free_bytes, " of ", total, " are free"));
  }
  VPREF_CUDA_CHECK(status);
  return p;
}

void free(void* data) { cudaFree(data); }

void zero(void* data, size_t bytes) { VPREF_CUDA_CHECK(cudaMemset(data, 0, bytes)); }

void copy_to_device(Context& ctx, void* device_data, const void* host, size_t bytes) {
  cuda::write_to_device(ctx, device_data, bytes, 1, [&](void* to, size_t begin, size_t count) {
    std::memcpy(to, static_cast<const std::byte*>(host) + begin, count);
  });
}

void write_to_device(Context& ctx, void* device_data, size_t bytes, size_t unit,
                     const std::function<void(void* to, size_t begin, size_t count)>& write) {
  expect_not_capturing(ctx, "a copy to the device");
  if (unit > kChunkBytes) {  // written whole, then copied in chunks
    std::vector<std::byte> host(unit);
    for (size_t begin = 0; begin < bytes; begin += unit) {
      write(host.data(), begin, unit);
      cuda::copy_to_device(ctx, static_cast<std::byte*>(device_data) + begin, host.data(), unit);
    }
    return;
  }
  const cudaStream_t stream = stream_of(ctx);
  for (size_t begin = 0; begin < bytes;) {
    size_t count = 0;
    std::byte* chunk = staging().room(bytes - begin, unit, count, stream);
    write(chunk, begin, count);
    VPREF_CUDA_CHECK(
        cudaMemcpyAsync(static_cast<std::byte*>(device_data) + begin, chunk, count, cudaMemcpyHostToDevice, stream));
    begin += count;
  }
}

void copy_to_host(Context& ctx, void* host, const void* device_data, size_t bytes) {
  expect_not_capturing(ctx, "a copy to the host");
  const cudaStream_t stream = stream_of(ctx);
  if (bytes == 0) {
    VPREF_CUDA_CHECK(cudaStreamSynchronize(stream));
    return;
  }
  // A chunk is copied out of the staging memory while the next one is copied from the device.
  Staging::Chunk waiting{};
  size_t waiting_begin = 0, waiting_count = 0;
  const auto take = [&] {
    VPREF_CUDA_CHECK(cudaEventSynchronize(waiting.done));
    std::memcpy(static_cast<std::byte*>(host) + waiting_begin, waiting.data, waiting_count);
  };
  for (size_t begin = 0; begin < bytes; begin += kChunkBytes) {
    const Staging::Chunk chunk = staging().chunk(stream);
    const size_t count = std::min(kChunkBytes, bytes - begin);
    VPREF_CUDA_CHECK(cudaMemcpyAsync(chunk.data, static_cast<const std::byte*>(device_data) + begin, count,
                                     cudaMemcpyDeviceToHost, stream));
    VPREF_CUDA_CHECK(cudaEventRecord(chunk.done, stream));
    if (waiting.data) take();
    waiting = chunk;
    waiting_begin = begin;
    waiting_count = count;
  }
  take();
}

void copy_on_device(Context& ctx, void* to, const void* from, size_t bytes) {
  VPREF_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(ctx)));
}

void* pinned_alloc(size_t bytes) {
  void* p = nullptr;
  VPREF_CUDA_CHECK(cudaMallocHost(&p, bytes));
  return p;
}

void pinned_free(void* host) { cudaFreeHost(host); }

void* event_create() {
  cudaEvent_t event;
  VPREF_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return event;
}

void event_destroy(void* event) { cudaEventDestroy(static_cast<cudaEvent_t>(event)); }

void copy_to_pinned(Context& ctx, void* pinned, const void* device_data, size_t bytes, void* event) {
  expect_not_capturing(ctx, "a copy to the host");
  VPREF_CUDA_CHECK(cudaMemcpyAsync(pinned, device_data, bytes, cudaMemcpyDeviceToHost, stream_of(ctx)));
  VPREF_CUDA_CHECK(cudaEventRecord(static_cast<cudaEvent_t>(event), stream_of(ctx)));
}

void event_wait(void* event) { VPREF_CUDA_CHECK(cudaEventSynchronize(static_cast<cudaEvent_t>(event))); }

MemorySize memory_size() {
  MemorySize size{};
  VPREF_CUDA_CHECK(cudaMemGetInfo(&size.free, &size.total));
  return size;
}

void synchronize(Context& ctx) {
  expect_not_capturing(ctx, "waiting for the device");
  VPREF_CUDA_CHECK(cudaStreamSynchronize(stream_of(ctx)));
}

}  // namespace vpref::cuda
