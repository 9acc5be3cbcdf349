// SPDX-License-Identifier: Apache-2.0
// Where an op runs: the device, its scratch memory, its stream. First parameter of every op.
#pragma once
#include <cstddef>
#include <cstdint>

namespace vpref {

enum class Device : uint8_t { cpu, cuda };

// Scratch memory of an op, until the op returns. It grows between steps (reserve), never inside one.
class Workspace {
 public:
  explicit Workspace(Device device) : device_(device) {}
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  // Returns at least `bytes` of 64-byte aligned, uninitialised memory. When it grows, earlier pointers become invalid.
  void* get(size_t bytes);
  size_t capacity() const { return capacity_; }
  const void* data() const { return data_; }
  // While held, get() throws Error{"internal"} instead of growing.
  void hold(bool held) { held_ = held; }

 private:
  Device device_;
  void* data_ = nullptr;
  size_t capacity_ = 0;
  bool held_ = false;
};

// One per engine thread. On the CPU every op uses the same pool, of num_threads threads (core/parallel.h).
struct Context {
  Device device;
  int num_threads;         // CPU
  void* stream = nullptr;  // CUDA: cudaStream_t
  Workspace workspace;
  explicit Context(Device d, int threads = 1) : device(d), num_threads(threads), workspace(d) {}
  // While launches are captured (launch_graphs.h), work that a graph cannot replay throws Error{"internal"}: copies
  // from and to the host, waiting for the device, a growing workspace.
  void set_capturing(bool on) {
    capturing_ = on;
    workspace.hold(on);
  }
  bool capturing() const { return capturing_; }
  // While a Measure lives (arena.h), ops only check their operands, and copies do nothing.
  bool measuring() const { return measuring_; }

 private:
  friend class Measure;
  bool capturing_ = false;
  bool measuring_ = false;
};

}  // namespace vpref
