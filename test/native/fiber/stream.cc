// SPDX-License-Identifier: Apache-2.0
#include "fiber/stream.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"
#include "fiber/device_memory.h"

struct FiberEvent {
  uint64_t position = 0;
};
struct FiberStream {};

namespace vpref::fiber {

struct Node {
  std::function<void()> work;
  Identity identity;
};

}  // namespace vpref::fiber

struct FiberGraph {
  std::shared_ptr<const std::vector<vpref::fiber::Node>> nodes;
};
struct FiberGraphExec {
  std::shared_ptr<const std::vector<vpref::fiber::Node>> nodes;  // kept alive by launched graphs that wait
};

namespace vpref::fiber {
namespace {

struct Capture {
  cudaStream_t stream;
  std::thread::id thread;
  std::vector<Node> nodes;
  bool spoiled = false;
};

// Only one compute thread uses the device at a time. The mutex protects the addresses of pinned memory, which other
// threads may query.
struct Queue {
  std::deque<std::function<void()>> waiting;
  uint64_t given = 0;
  bool deferred = false;
  std::exception_ptr failure;
  std::mutex mutex;
  std::map<const char*, size_t> pinned;
  std::optional<Capture> capture;
  bool compares_graphs = false;
};

Queue& queue() {
  static Queue* q = new Queue;  // outlives every static object that frees memory
  return *q;
}

// The thread's capture.
Capture* own_capture() {
  Queue& q = queue();
  return q.capture && q.capture->thread == std::this_thread::get_id() ? &*q.capture : nullptr;
}

bool is_pinned(const void* p) {
  Queue& q = queue();
  const std::lock_guard lock(q.mutex);
  const char* at = static_cast<const char*>(p);
  const auto after = q.pinned.upper_bound(at);
  return after != q.pinned.begin() && at < std::prev(after)->first + std::prev(after)->second;
}

// Throws Error{"device"} for a copy that a GPU refuses, or makes in no fixed order.
void check_copy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice,
             from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (bytes == 0) return;
  check((!to_device || in_device_memory(to, bytes)) && (!from_device || in_device_memory(from, bytes)), "device",
        "fiber: a copy whose device side is not inside one allocation");
  const uintptr_t a = reinterpret_cast<uintptr_t>(to), b = reinterpret_cast<uintptr_t>(from);
  check(!to_device || !from_device || a + bytes <= b || b + bytes <= a, "device",
        "fiber: a copy on the device that overlaps its source");
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

void enqueue(std::function<void()> work, cudaStream_t stream, const std::function<Identity()>& identity) {
  Queue& q = queue();
  if (Capture* capture = own_capture()) {
    if (stream != capture->stream) capture->spoiled = true;
    check(stream == capture->stream, "internal", "fiber: work on another stream while one is captured");
    check(bool(identity), "internal", "fiber: captured work without an identity");
    capture->nodes.push_back({std::move(work), identity()});
    return;
  }
  ++q.given;
  if (!q.deferred) return work();
  q.waiting.push_back(std::move(work));
}

uint64_t position() { return queue().given; }

bool refused_in_capture() {
  Capture* capture = own_capture();
  if (capture) capture->spoiled = true;
  return capture;
}

void set_compares_graphs(bool on) { queue().compares_graphs = on; }
bool compares_graphs() { return queue().compares_graphs; }

void expect_device_address(const char* launcher, const void* address) {
  check(!in_host_memory(address), "device", "fiber: an argument of a kernel holds the address ", address,
        " of host memory: ", launcher);
}

std::string kernel_name(const char* launcher, dim3 grid, dim3 block, size_t shared_bytes) {
  return cat("kernel of ", launcher, ", grid ", grid.x, " x ", grid.y, " x ", grid.z, ", block ", block.x, " x ",
             block.y, " x ", block.z, ", ", shared_bytes, " bytes shared");
}

std::string graph_difference(cudaGraphExec_t kept, cudaGraphExec_t now) {
  const std::vector<Node>&a = *kept->nodes, &b = *now->nodes;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const Identity &x = a[i].identity, &y = b[i].identity;
    if (x.what != y.what) return cat("node ", i, ": kept ", x.what, ", now ", y.what);
    if (x.arguments != y.arguments) {
      const auto at =
          std::mismatch(x.arguments.begin(), x.arguments.end(), y.arguments.begin(), y.arguments.end()).first -
          x.arguments.begin();
      return cat("node ", i, ": ", x.what, ": the arguments differ from byte ", at, " on");
    }
  }
  return a.size() == b.size() ? "" : cat("kept ", a.size(), " nodes, now ", b.size());
}

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
  if (refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  if (posix_memalign(p, 4096, bytes ? bytes : 1) != 0) return cudaErrorMemoryAllocation;
  const std::lock_guard lock(queue().mutex);
  queue().pinned[static_cast<const char*>(*p)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* p) {
  if (refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  drain_quietly();
  {
    const std::lock_guard lock(queue().mutex);
    queue().pinned.erase(static_cast<const char*>(p));
  }
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaMemset(void* p, int value, size_t bytes) {
  if (refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  enqueue([=] {
    const DeviceAccess access;
    std::memset(p, value, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  check_copy(to, from, bytes, kind);
  drain();
  copy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (kind != cudaMemcpyDeviceToDevice && refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  check_copy(to, from, bytes, kind);
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
      if (queue().deferred) std::memset(to, 0xff, bytes);  // an early read sees NaN
      enqueue([=] { copy(to, from, bytes); });
      return cudaSuccess;
    default:
      enqueue([=] { copy(to, from, bytes); }, stream, [&] { return identity_of("copy", to, from, bytes); });
      return cudaSuccess;
  }
}

cudaError_t cudaDeviceSynchronize() {
  if (refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
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
  if (refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  event->position = position();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  drain(event->position);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new FiberStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!stream || queue().capture) return cudaErrorStreamCaptureUnsupported;  // as for the default stream
  queue().capture.emplace(Capture{stream, std::this_thread::get_id(), {}});
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  Capture* capture = own_capture();
  if (!capture || capture->stream != stream) return cudaErrorInvalidValue;
  const bool spoiled = capture->spoiled;
  if (!spoiled) *graph = new FiberGraph{std::make_shared<const std::vector<Node>>(std::move(capture->nodes))};
  queue().capture.reset();
  return spoiled ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new FiberGraphExec{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  for (size_t i = 0; i < executable->nodes->size(); ++i)
    enqueue([nodes = executable->nodes, i] { (*nodes)[i].work(); }, stream);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
