// SPDX-License-Identifier: Apache-2.0
#include "fiber/device_memory.h"
#include "fiber/executor.h"
#include "fiber/stream.h"

#include <cuda_runtime.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace vpref::fiber {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kRegion = size_t(16) << 30;  // bytes of addresses; pages are allocated when written
[[maybe_unused]] constexpr size_t kFilled = size_t(1)
                                            << 20;  // of each piece, with NaN: every page written makes closing slower

struct Pool {
  std::mutex mutex;
  char* base = nullptr;
  size_t top = 0, used = 0;
  int open = 0;
  std::map<size_t, size_t> taken, spare;  // offset -> bytes
};

Pool& pool() {
  static Pool* p = new Pool;  // outlives every static object that frees memory
  return *p;
}

#ifndef __SANITIZE_ADDRESS__
struct sigaction previous;

void explain(int signal, siginfo_t* info, void*) {
  const char* at = static_cast<char*>(info->si_addr);
  if (at >= pool().base && at < pool().base + kRegion) {
    constexpr char host[] = "fiber: host code touched device memory outside a kernel or copy\n";
    constexpr char early[] = "fiber: a dependent launch touched device memory before grid_dependency_synchronize()\n";
    if ((in_kernel() ? write(2, early, sizeof early - 1) : write(2, host, sizeof host - 1)) < 0) _exit(3);
  }
  sigaction(signal, &previous, nullptr);  // the access is repeated and ends the program
}

void reserve(Pool& p) {
  void* region = mmap(nullptr, kRegion, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) std::abort();
  p.base = static_cast<char*>(region);
  struct sigaction action{};
  action.sa_sigaction = explain;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &previous);
}

void protect(Pool& p, int how) {
  if (p.top > 0 && mprotect(p.base, p.top, how) != 0) std::abort();
}
#endif

}  // namespace

#ifdef __SANITIZE_ADDRESS__
DeviceAccess::DeviceAccess() {}
DeviceAccess::~DeviceAccess() {}
DeviceClosed::DeviceClosed() {}
void DeviceClosed::open() {}
bool in_device_memory(const void*, size_t) { return true; }
bool in_host_memory(const void*) { return false; }
#else
DeviceAccess::DeviceAccess() {
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  if (p.open++ == 0) protect(p, PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  if (--p.open == 0) protect(p, PROT_NONE);
}

DeviceClosed::DeviceClosed() {
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  protect(p, PROT_NONE);
}
void DeviceClosed::open() {
  if (!closed_) return;
  closed_ = false;
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  protect(p, PROT_READ | PROT_WRITE);
}

bool in_device_memory(const void* address, size_t bytes) {
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  const char* at = static_cast<const char*>(address);
  if (!p.base || at < p.base || at >= p.base + kRegion) return false;
  const size_t begin = size_t(at - p.base);
  const auto after = p.taken.upper_bound(begin);
  if (after == p.taken.begin()) return false;
  const auto& [first, size] = *std::prev(after);
  return begin + bytes <= first + size;
}

bool in_host_memory(const void* address) {
  const Pool& p = pool();
  const char* at = static_cast<const char*>(address);
  if (p.base && at >= p.base && at < p.base + kRegion) return false;
  unsigned char present = 0;
  return mincore(reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(address) / kPage * kPage), 1, &present) == 0;
}
#endif

}  // namespace vpref::fiber

using vpref::fiber::DeviceAccess;
using vpref::fiber::pool;

#ifdef __SANITIZE_ADDRESS__
cudaError_t cudaMalloc(void** p, size_t bytes) {
  if (vpref::fiber::refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  if (posix_memalign(p, 256, bytes ? bytes : 1) != 0) return cudaErrorMemoryAllocation;
  std::memset(*p, 0xff, bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (vpref::fiber::refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  vpref::fiber::drain_quietly();
  std::free(p);
  return cudaSuccess;
}
#else
cudaError_t cudaMalloc(void** p, size_t bytes) {
  if (vpref::fiber::refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  auto& device = pool();
  size_t at = 0;
  const size_t size =
      (std::max(bytes, size_t(1)) + vpref::fiber::kPage - 1) / vpref::fiber::kPage * vpref::fiber::kPage;
  {
    const std::lock_guard lock(device.mutex);
    if (!device.base) vpref::fiber::reserve(device);
    auto spare = device.spare.begin();
    while (spare != device.spare.end() && spare->second < size) ++spare;
    if (spare != device.spare.end()) {
      at = spare->first;
      if (spare->second > size) device.spare[at + size] = spare->second - size;
      device.spare.erase(at);
    } else {
      if (size > vpref::fiber::kRegion - device.top) return cudaErrorMemoryAllocation;
      at = device.top;
      if (device.open > 0 && mprotect(device.base + at, size, PROT_READ | PROT_WRITE) != 0)
        return cudaErrorMemoryAllocation;
      device.top += size;
    }
    device.taken[at] = size;
    device.used += size;
  }
  *p = device.base + at;
  const DeviceAccess access;
  std::memset(*p, 0xff, std::min(bytes, vpref::fiber::kFilled));
  return cudaSuccess;
}

cudaError_t cudaFree(void* p) {
  if (vpref::fiber::refused_in_capture()) return cudaErrorStreamCaptureUnsupported;
  if (!p) return cudaSuccess;
  vpref::fiber::drain_quietly();
  auto& device = pool();
  const std::lock_guard lock(device.mutex);
  const auto found = device.taken.find(size_t(static_cast<char*>(p) - device.base));
  if (found == device.taken.end()) return cudaErrorInvalidValue;
  const auto [at, size] = *found;
  device.taken.erase(found);
  device.used -= size;
  madvise(device.base + at, size, MADV_DONTNEED);
  auto piece = device.spare.emplace(at, size).first;
  if (const auto next = std::next(piece); next != device.spare.end() && piece->first + piece->second == next->first) {
    piece->second += next->second;
    device.spare.erase(next);
  }
  if (piece != device.spare.begin())
    if (const auto before = std::prev(piece); before->first + before->second == piece->first) {
      before->second += piece->second;
      device.spare.erase(piece);
    }
  return cudaSuccess;
}
#endif

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  *total = vpref::fiber::kRegion;
  *free_bytes = *total - pool().used;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      break;  // few, so that persistent grids stay small
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = 232448;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrL2CacheSize:
      *value = 50 << 20;
      break;
    default:
      return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}
