// SPDX-License-Identifier: Apache-2.0
#include "fiber/stream.h"

#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "fiber/device_memory.h"

struct FiberEvent {
  uint64_t position = 0;
};

namespace vpref::fiber {
namespace {

// One compute thread at a time owns the device; the mutex is for the addresses of pinned memory, which others may ask for.
struct Queue {
  std::deque<std::function<void()>> waiting;
  uint64_t given = 0;
  bool deferred = false;
  std::exception_ptr failure;
  std::mutex mutex;
  std::map<const char*, size_t> pinned;
};

Queue& queue() {
  static Queue* q = new Queue;  // outlives every static that frees
  return *q;
}

bool is_pinned(const void* p) {
  Queue& q = queue();
  const std::lock_guard lock(q.mutex);
  const char* at = static_cast<const char*>(p);
  const auto after = q.pinned.upper_bound(at);
  return after != q.pinned.begin() && at < std::prev(after)->first + std::prev(after)->second;
}

void copy(void* to, const void* from, size_t bytes) {
  const DeviceAccess access;
  std::memmove(to, from, bytes);
}

}  // namespace

void set_deferred(bool on) {
  if (!on) drain();
  queue().deferred = on;
}

void enqueue(std::function<void()> work) {
  Queue& q = queue();
  ++q.given;
  if (!q.deferred) return work();
  q.waiting.push_back(std::move(work));
}

uint64_t position() { return queue().given; }

void drain(uint64_t until) {
  Queue& q = queue();
  if (q.failure) std::rethrow_exception(std::exchange(q.failure, nullptr));
  if (q.waiting.empty()) return;
  const DeviceAccess access;  // opened once for all of them
  while (!q.waiting.empty() && q.given - q.waiting.size() < until) {
    const std::function<void()> work = std::move(q.waiting.front());
    q.waiting.pop_front();
    try {
      work();
    } catch (...) {
      q.waiting.clear();
      throw;
    }
  }
}

void drain_quietly() noexcept {
  try {
    drain();
  } catch (...) {
    queue().failure = std::current_exception();
  }
}

}  // namespace vpref::fiber

using namespace vpref::fiber;

cudaError_t cudaMallocHost(void** p, size_t bytes) {
  if (posix_memalign(p, 4096, bytes ? bytes : 1) != 0) return cudaErrorMemoryAllocation;
  const std::lock_guard lock(queue().mutex);
  queue().pinned[static_cast<const char*>(*p)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* p) {
  drain_quietly();
  {
    const std::lock_guard lock(queue().mutex);
    queue().pinned.erase(static_cast<const char*>(p));
  }
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaMemset(void* p, int value, size_t bytes) {
  enqueue([=] {
    const DeviceAccess access;
    std::memset(p, value, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  drain();
  copy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  switch (kind) {
    case cudaMemcpyHostToDevice:
      if (is_pinned(from)) {
        enqueue([=] { copy(to, from, bytes); });
      } else {  // the driver takes pageable memory over before it returns
        const char* first = static_cast<const char*>(from);
        enqueue([=, taken = std::vector<char>(first, first + bytes)] { copy(to, taken.data(), bytes); });
      }
      return cudaSuccess;
    case cudaMemcpyDeviceToHost:
      if (!is_pinned(to)) return cudaMemcpy(to, from, bytes, kind);
      if (queue().deferred) std::memset(to, 0xff, bytes);  // who reads too early reads NaN
      enqueue([=] { copy(to, from, bytes); });
      return cudaSuccess;
    default:
      enqueue([=] { copy(to, from, bytes); });
      return cudaSuccess;
  }
}

cudaError_t cudaDeviceSynchronize() {
  drain();
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaDeviceSynchronize(); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new FiberEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->position = position();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  drain(event->position);
  return cudaSuccess;
}
