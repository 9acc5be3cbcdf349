// SPDX-License-Identifier: Apache-2.0
// Where an op runs: the device, its scratch memory, its stream. First parameter of every op.
#pragma once
#include <cstddef>
#include <cstdint>

namespace vpref {

enum class Device : uint8_t { cpu, cuda };

// Scratch that an op may use until it returns. Grows between steps only (reserve), never inside one.
class Workspace {
 public:
  explicit Workspace(Device device) : device_(device) {}
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  // At least `bytes` of 64-byte aligned memory; contents are undefined. Earlier pointers become invalid when it grows.
  void* get(size_t bytes);
  size_t capacity() const { return capacity_; }
  const void* data() const { return data_; }
  // Held, it does not grow: get() throws Error{"internal"} instead.
  void hold(bool held) { held_ = held; }

 private:
  Device device_;
  void* data_ = nullptr;
  size_t capacity_ = 0;
  bool held_ = false;
};

// One per engine thread. On the CPU every op uses the same OpenMP pool of num_threads threads.
struct Context {
  Device device;
  int num_threads;         // CPU
  void* stream = nullptr;  // CUDA: cudaStream_t
  Workspace workspace;
  explicit Context(Device d, int threads = 1) : device(d), num_threads(threads), workspace(d) {}
  // While launches are recorded (launch_graphs.h), whatever a record cannot repeat is Error{"internal"}: copies from
  // and to the host, waiting, a growing workspace.
  void set_capturing(bool on) {
    capturing_ = on;
    workspace.hold(on);
  }
  bool capturing() const { return capturing_; }
  // While a Measure lives (arena.h): ops check their operands and do no more, copies do nothing.
  bool measuring() const { return measuring_; }

 private:
  friend class Measure;
  bool capturing_ = false;
  bool measuring_ = false;
};

}  // namespace vpref
