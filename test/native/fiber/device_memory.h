// SPDX-License-Identifier: Apache-2.0
// Device memory, inside host memory. It is closed (no access) unless a kernel or a copy runs, so host code that
// dereferences a device pointer crashes as with a GPU. Under the address sanitizer each allocation is an ordinary one,
// always open, and its bounds are checked.
#pragma once
#include <cstddef>

namespace vpref::fiber {

// Opens device memory to this process during its lifetime.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

// Closes device memory within a DeviceAccess, until open() or the end of its lifetime.
class DeviceClosed {
 public:
  DeviceClosed();
  ~DeviceClosed() { open(); }
  DeviceClosed(const DeviceClosed&) = delete;
  DeviceClosed& operator=(const DeviceClosed&) = delete;
  void open();

 private:
  bool closed_ = true;
};

// Whether one allocation holds all these bytes. Always true under the address sanitizer.
bool in_device_memory(const void* p, size_t bytes);

// Whether p is an address of this process outside device memory. Always false under the address sanitizer.
bool in_host_memory(const void* p);

}  // namespace vpref::fiber
