// SPDX-License-Identifier: Apache-2.0
// One slab, planned before the first step: the step's own code is measured first, then the slab is allocated once and
// handed out.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/tensor.h"

namespace vpref {

// 64-byte aligned memory on a device; zeroed on request. Moves, never copies.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device device, size_t bytes, bool zero = false);  // throws Error{"memory"} saying how much was asked for
  ~Buffer();
  // An address of no memory, where nothing is read or written: of code that is measured.
  static Buffer measuring(size_t bytes);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  Device device_ = Device::cpu;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Hands out consecutive 64-byte aligned pieces of one Buffer; mark/release gives stack discipline inside a step.
class Arena {
 public:
  Arena() = default;
  Arena(Device device, size_t bytes) : buffer_(device, bytes) {}
  // Throws Error{"memory"} when the plan was too small (a bug in the plan, not a user's error).
  Tensor tensor(DType dtype, std::initializer_list<int64_t> shape);
  size_t mark() const { return used_; }
  void release(size_t mark) { used_ = mark; }
  size_t used() const { return used_; }
  size_t peak() const { return peak_; }
  size_t capacity() const { return buffer_.bytes(); }
  const void* data() const { return buffer_.data(); }
  // Hands out addresses of no memory, as many as are asked for: peak() is what the code that asked needs.
  static Arena measuring();

 private:
  Buffer buffer_;
  bool measuring_ = false;
  size_t used_ = 0;
  size_t peak_ = 0;
};

// What code takes from an arena, found by going through it: while this lives, ops of `ctx` and copies do nothing and
// `arena` measures. Afterwards both are as before. What such code computes is not meaningful.
class Measure {
 public:
  Measure(Context& ctx, Arena& arena);
  ~Measure();
  Measure(const Measure&) = delete;
  Measure& operator=(const Measure&) = delete;
  size_t bytes() const { return arena_.peak(); }

 private:
  Context& ctx_;
  Arena& arena_;
  Arena before_;
};

constexpr size_t aligned(size_t bytes) { return (bytes + 63) & ~size_t(63); }

}  // namespace vpref
