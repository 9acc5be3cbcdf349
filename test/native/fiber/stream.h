// SPDX-License-Identifier: Apache-2.0
// The device's queue. By default work runs when it is given; deferred, it waits until somebody waits for it, as a GPU
// is behind its host: what the host changed or freed in between is then wrong in the results.
//
// While a stream is captured, what is given to it goes into the capture's list and nothing runs; a launch of the graph
// gives the list to the queue. What CUDA forbids meanwhile is refused and spoils the capture. Copies between host and
// device are refused too: CUDA would record them, and a replay would read or write host memory that is somebody else's
// by then.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>

namespace vpref::fiber {

// All that decides what a piece of work does: what it is, for a reader, and the bytes of its arguments.
struct Identity {
  std::string what, arguments;
};

template <class T>
void add_argument(std::string& to, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  alignas(T) char copy[sizeof(T)];
  std::memcpy(copy, &value, sizeof(T));
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(reinterpret_cast<T*>(copy));
#endif
#endif
  to.append(copy, sizeof(T));
}

template <class... Args>
Identity identity_of(std::string what, const Args&... args) {
  Identity id{std::move(what), {}};
  (add_argument(id.arguments, args), ...);
  return id;
}

std::string kernel_name(const char* launcher, dim3 grid, dim3 block, size_t shared_bytes);

void set_deferred(bool on);  // turning it off runs what waits

// Kernels, copies and products, in the order given (all streams are one). identity() is asked while a stream is
// captured.
void enqueue(std::function<void()> work, cudaStream_t stream = nullptr, const std::function<Identity()>& identity = {});

// Runs what was given up to `until` (a position(), or all of it). Throws what the work threw; the rest of the queue is
// then dropped.
void drain(uint64_t until = UINT64_MAX);
uint64_t position();

// For calls that must not throw: a failure comes out of the next drain().
void drain_quietly() noexcept;

// For calls that are forbidden while this thread captures: spoils the capture and returns true.
bool refused_in_capture();

// Whether launches of a graph are held against the step that they stand for (backend/cuda/launch_graphs.cu); off until
// set.
void set_compares_graphs(bool on);
bool compares_graphs();
// Where two graphs differ; empty if nowhere.
std::string graph_difference(cudaGraphExec_t kept, cudaGraphExec_t now);

}  // namespace vpref::fiber
