// SPDX-License-Identifier: Apache-2.0
// Starts kernels, on a GPU and in the fiber executor of the tests. Every kernel is launched here.
#pragma once
#include <map>
#include <mutex>
#include <tuple>
#include <utility>

#include "backend/cuda/check.h"
#ifdef VPREF_FIBER
#include "fiber/stream.h"
#endif

namespace vpref::cuda {

#ifndef VPREF_FIBER
// A kernel's limit is global to the process. It is never lowered, because another thread's launch may need more.
inline void allow_shared(const void* kernel, size_t bytes) {
  static std::mutex mutex;
  static std::map<const void*, size_t> allowed;
  const std::lock_guard lock(mutex);
  size_t& limit = allowed[kernel];
  if (bytes <= limit) return;
  VPREF_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)));
  limit = bytes;
}

// Programmatic dependent launch needs code for Hopper or later. Older code, translated for a newer GPU, does not wait
// for the previous launch (device.cuh). All kernels have the same targets, so the first one stands for all.
inline bool has_dependent_launch(const void* kernel) {
  static const bool overlap = [kernel] {
    cudaFuncAttributes attributes{};
    VPREF_CUDA_CHECK(cudaFuncGetAttributes(&attributes, kernel));
    return attributes.ptxVersion >= 90;
  }();
  return overlap;
}
#endif

template <class... Parameters, class... Args>
void start(bool dependent, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
           cudaStream_t stream, Args&&... args) {
#ifdef VPREF_FIBER
  // The arguments are copied now; the kernel runs later.
  const std::tuple<Parameters...> taken(static_cast<Parameters>(args)...);
  std::apply([&](const auto&... each) { (fiber::expect_device_addresses(__PRETTY_FUNCTION__, each), ...); }, taken);
  fiber::enqueue([=] { fiber::run(grid, block, shared_bytes, dependent, [&] { std::apply(kernel, taken); }); }, stream,
                 [&] {
                   return std::apply(
                       [&](const auto&... each) {
                         return fiber::identity_of(fiber::kernel_name(__PRETTY_FUNCTION__, grid, block, shared_bytes),
                                                   kernel, each...);
                       },
                       taken);
                 });
#else
  const void* const function = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > size_t(48) << 10) allow_shared(function, shared_bytes);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = dependent && has_dependent_launch(function) ? 1 : 0;
  VPREF_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(args)...));
#endif
}

// kernel<<<grid, block, shared_bytes, stream>>>(args...), checked. Allows dynamic shared memory above 48 KB.
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Args&&... args) {
  start(/*dependent=*/false, kernel, grid, block, shared_bytes, stream, std::forward<Args>(args)...);
}

// The same with programmatic dependent launch, for a kernel that calls grid_dependency_synchronize() (device.cuh). Its
// blocks may start before the previous launch ends, and may run until that call whatever does not depend on it.
// Decoding is hundreds of short kernels in a row.
template <class... Parameters, class... Args>
void launch_dependent(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                      Args&&... args) {
  start(/*dependent=*/true, kernel, grid, block, shared_bytes, stream, std::forward<Args>(args)...);
}

}  // namespace vpref::cuda
