// SPDX-License-Identifier: Apache-2.0
// The one way to start a kernel, on a GPU and in the fiber executor of the tests.
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
// A kernel's limit is the process's: never lowered, or another thread's launch with more would fail.
inline void allow_shared(const void* kernel, size_t bytes) {
  static std::mutex mutex;
  static std::map<const void*, size_t> allowed;
  const std::lock_guard lock(mutex);
  size_t& most = allowed[kernel];
  if (bytes <= most) return;
  VPREF_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)));
  most = bytes;
}
#endif

// kernel<<<grid, block, shared_bytes, stream>>>(args...), checked. Dynamic shared memory beyond 48 KB is asked for here.
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, Args&&... args) {
#ifdef VPREF_FIBER
  // The arguments are taken now, the kernel runs when its turn comes.
  const std::tuple<Parameters...> taken(static_cast<Parameters>(args)...);
  fiber::enqueue(
      [=] { fiber::run(grid, block, shared_bytes, [&] { std::apply(kernel, taken); }); }, stream,
      [&] { return std::apply([&](const auto&... each) { return fiber::identity_of(fiber::kernel_name(__PRETTY_FUNCTION__, grid, block, shared_bytes), kernel, each...); }, taken); });
#else
  if (shared_bytes > size_t(48) << 10) allow_shared(reinterpret_cast<const void*>(kernel), shared_bytes);
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameters>(args)...);
  VPREF_LAUNCH_CHECK();
#endif
}

}  // namespace vpref::cuda
