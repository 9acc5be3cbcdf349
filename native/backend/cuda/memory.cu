// SPDX-License-Identifier: Apache-2.0
#include "core/memory.h"

#include "backend/cuda/check.h"

namespace vpref::cuda {

void* alloc(size_t bytes) {
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, bytes);
  if (status == cudaErrorMemoryAllocation) {
    size_t free_bytes = 0, total = 0;
    cudaMemGetInfo(&free_bytes, &total);
    throw Error("memory", cat("out of GPU memory: could not get ", bytes, " bytes, ", free_bytes, " of ", total, " are free"));
  }
  VPREF_CUDA_CHECK(status);
  return p;
}

void free(void* data) { cudaFree(data); }

void zero(void* data, size_t bytes) { VPREF_CUDA_CHECK(cudaMemset(data, 0, bytes)); }

void copy_to_device(Context& ctx, void* device_data, const void* host, size_t bytes) {
  VPREF_CUDA_CHECK(cudaMemcpyAsync(device_data, host, bytes, cudaMemcpyHostToDevice, stream_of(ctx)));
  VPREF_CUDA_CHECK(cudaStreamSynchronize(stream_of(ctx)));
}

void copy_to_host(Context& ctx, void* host, const void* device_data, size_t bytes) {
  VPREF_CUDA_CHECK(cudaMemcpyAsync(host, device_data, bytes, cudaMemcpyDeviceToHost, stream_of(ctx)));
  VPREF_CUDA_CHECK(cudaStreamSynchronize(stream_of(ctx)));
}

void copy_on_device(Context& ctx, void* to, const void* from, size_t bytes) {
  VPREF_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(ctx)));
}

}  // namespace vpref::cuda
