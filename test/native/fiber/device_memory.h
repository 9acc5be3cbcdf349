// SPDX-License-Identifier: Apache-2.0
// The device's memory, in the host's: closed (no access) while neither a kernel nor a copy runs, so that host code
// which follows a device pointer stops here as it would with a GPU. Under the address sanitizer each piece is an
// ordinary allocation instead, always open, and its ends are watched.
#pragma once

namespace vpref::fiber {

// Device memory is open to this process while one of these lives.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace vpref::fiber
