// SPDX-License-Identifier: Apache-2.0
// The device's queue. By default work runs when it is queued. Deferred, it waits until the host waits for it, as a GPU
// lags behind its host; then memory that the host changed or freed too early gives wrong results.
//
// While a stream is captured, its work goes into the capture's list and does not run; launching the graph queues the
// list. Work that CUDA forbids during a capture is refused and invalidates the capture. Copies between host and device
// are refused too: CUDA would capture them, and a replay would access host memory that may have another owner by then.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>

namespace vpref::fiber {

// The identity of a piece of work: its description, and the bytes of its arguments.
struct Identity {
  std::string what, arguments;
};

// The bytes of an argument, zeros between its members.
template <class T>
struct ArgumentBytes {
  static_assert(std::is_trivially_copyable_v<T>);
  alignas(T) char bytes[sizeof(T)];
  explicit ArgumentBytes(const T& value) {
    std::memcpy(bytes, &value, sizeof(T));
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
    __builtin_clear_padding(reinterpret_cast<T*>(bytes));
#endif
#endif
  }
};

template <class T>
void add_argument(std::string& to, const T& value) {
  to.append(ArgumentBytes<T>(value).bytes, sizeof(T));
}

template <class... Args>
Identity identity_of(std::string what, const Args&... args) {
  Identity id{std::move(what), {}};
  (add_argument(id.arguments, args), ...);
  return id;
}

// Throws Error{"device"} if the address is in host memory.
void expect_device_address(const char* launcher, const void* address);

// The same for every word of an argument that could be an address: on a GPU a kernel that used it would fault.
template <class T>
void expect_device_addresses(const char* launcher, const T& value) {
  if constexpr (alignof(T) >= alignof(void*)) {
    const ArgumentBytes<T> copy(value);
    for (size_t at = 0; at + sizeof(void*) <= sizeof(T); at += sizeof(void*)) {
      uintptr_t word;
      std::memcpy(&word, copy.bytes + at, sizeof word);
      if (word >> 32 != 0 && word >> 47 == 0) expect_device_address(launcher, reinterpret_cast<const void*>(word));
    }
  }
}

std::string kernel_name(const char* launcher, dim3 grid, dim3 block, size_t shared_bytes);

void set_deferred(bool on);  // turning it off runs waiting work

// Queues kernels, copies and products in order (all streams are one). identity() is called only while a stream is
// captured.
void enqueue(std::function<void()> work, cudaStream_t stream = nullptr, const std::function<Identity()>& identity = {});

// Runs queued work up to `until` (a position(), or all). Throws the work's error; the rest of the queue is then
// dropped.
void drain(uint64_t until = UINT64_MAX);
uint64_t position();

// For calls that must not throw: the next drain() throws the failure.
void drain_quietly() noexcept;

// For calls that are forbidden while this thread captures: invalidates the capture and returns true.
bool refused_in_capture();

// Whether launches of a graph are compared with the step that they stand for (backend/cuda/launch_graphs.cu); off by
// default.
void set_compares_graphs(bool on);
bool compares_graphs();
// The first difference between two graphs, or "".
std::string graph_difference(cudaGraphExec_t kept, cudaGraphExec_t now);

}  // namespace vpref::fiber
