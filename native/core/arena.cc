// SPDX-License-Identifier: Apache-2.0
#include "core/arena.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/memory.h"

namespace vpref {

namespace {

constexpr uintptr_t kNoMemory = uintptr_t(1) << 48;  // aligned, not null, and no process's memory

}  // namespace

Buffer::Buffer(Device device, size_t bytes, bool zero) : device_(device), bytes_(bytes) {
  if (bytes == 0) return;
  data_ = device_alloc(device, bytes);
  if (zero) device_zero(device, data_, bytes);
}

Buffer Buffer::measuring(size_t bytes) {
  Buffer buffer;
  buffer.data_ = reinterpret_cast<void*>(kNoMemory);
  buffer.bytes_ = bytes;
  return buffer;
}

Buffer::~Buffer() {
  if (data_ && data_ != reinterpret_cast<void*>(kNoMemory)) device_free(device_, data_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : device_(other.device_), data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Tensor Arena::tensor(DType dtype, std::initializer_list<int64_t> shape) {
  Tensor t(measuring_ ? reinterpret_cast<char*>(kNoMemory + used_) : static_cast<char*>(buffer_.data()) + used_, dtype,
           shape);
  const size_t end = used_ + aligned(t.bytes());
  check(measuring_ || end <= buffer_.bytes(), "memory", "arena of ", buffer_.bytes(), " bytes is too small for ", end);
  used_ = end;
  if (used_ > peak_) peak_ = used_;
  return t;
}

Arena Arena::measuring() {
  Arena arena;
  arena.measuring_ = true;
  return arena;
}

Measure::Measure(Context& ctx, Arena& arena) : ctx_(ctx), arena_(arena), before_(Arena::measuring()) {
  check(!ctx.measuring_, "internal", "a measurement within another");
  std::swap(arena_, before_);
  ctx.measuring_ = true;
}

Measure::~Measure() {
  std::swap(arena_, before_);
  ctx_.measuring_ = false;
}

Workspace::~Workspace() {
  if (data_) device_free(device_, data_);
}

void* Workspace::get(size_t bytes) {
  if (bytes > capacity_) {
    check(!held_, "internal", "a workspace of ", capacity_, " bytes is asked for ", bytes,
          " while launches are recorded");
    if (data_) device_free(device_, data_);
    data_ = nullptr;
    capacity_ = 0;
    data_ = device_alloc(device_, aligned(bytes));
    capacity_ = aligned(bytes);
  }
  return data_;
}

}  // namespace vpref
