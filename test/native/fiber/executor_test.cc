// SPDX-License-Identifier: Apache-2.0
// The executor: results of threads, and errors that it detects. Kernels with a planted fault must fail for several
// orders of the warps.
#include "fiber/executor.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "backend/cuda/device.cuh"
#include "backend/cuda/gemm_paths.h"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/vector.cuh"
#include "core/arena.h"
#include "core/memory.h"

namespace vpref::cuda {
namespace {

// Device memory with values from the host.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::vector<T> values)
      : values_(std::move(values)), buffer_(Device::cuda, values_.size() * sizeof(T)) {
    cudaMemcpy(buffer_.data(), values_.data(), values_.size() * sizeof(T), cudaMemcpyHostToDevice);
  }
  T* data() { return static_cast<T*>(buffer_.data()); }
  std::vector<T> read() {
    cudaMemcpy(values_.data(), buffer_.data(), values_.size() * sizeof(T), cudaMemcpyDeviceToHost);
    return values_;
  }

 private:
  std::vector<T> values_;
  Buffer buffer_;
};

std::vector<float> uniform(size_t n, unsigned seed = 3) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> d(-1, 1);
  std::vector<float> v(n);
  for (float& x : v) x = d(random);
  return v;
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

__global__ void index_kernel(int* out) {
  const int block = int(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
  const int thread = int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  out[block * int(blockDim.x * blockDim.y * blockDim.z) + thread] += thread + 1000 * block;
}

TEST(Executor, RunsEveryThreadOnce) {
  const dim3 grid(3, 2, 2), block(4, 3, 5);
  DeviceArray<int> out(std::vector<int>(12 * 60));
  launch(index_kernel, grid, block, 0, nullptr, out.data());
  const std::vector<int> got = out.read();
  for (int b = 0; b < 12; ++b)
    for (int t = 0; t < 60; ++t) ASSERT_EQ(got[size_t(b * 60 + t)], t + 1000 * b);
}

__global__ void warp_kernel(int* out) {
  const int lane = int(threadIdx.x % 32), v = int(threadIdx.x * threadIdx.x);
  int* mine = out + threadIdx.x * 8;
  mine[0] = __shfl_xor_sync(0xffffffffu, v, 5);
  mine[1] = __shfl_down_sync(0xffffffffu, v, 3);
  mine[2] = __shfl_up_sync(0xffffffffu, v, 3, 8);
  mine[3] = __shfl_sync(0xffffffffu, v, 7);
  mine[4] = int(__ballot_sync(0xffffffffu, lane % 3 == 0));
  mine[5] = __any_sync(0xffffffffu, v == 9) * 2 + __all_sync(0xffffffffu, v >= 0);
  mine[6] = __syncthreads_count(lane < 5);
  mine[7] = lane < 8 ? __shfl_xor_sync(0x000000ffu, v, 1) : __shfl_xor_sync(0xffffff00u, v, 2);
}

TEST(Executor, WarpsExchangeAsTheHardwareDoes) {
  DeviceArray<int> out(std::vector<int>(64 * 8));
  launch(warp_kernel, 1, 64, 0, nullptr, out.data());
  const std::vector<int> got = out.read();
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32, base = t - lane;
    const auto of = [&](int l) { return (base + l) * (base + l); };
    const int* mine = &got[size_t(t) * 8];
    EXPECT_EQ(mine[0], of(lane ^ 5));
    EXPECT_EQ(mine[1], of(lane + 3 < 32 ? lane + 3 : lane));
    EXPECT_EQ(mine[2], of(lane % 8 >= 3 ? lane - 3 : lane));
    EXPECT_EQ(mine[3], of(7));
    EXPECT_EQ(unsigned(mine[4]), 0x49249249u);
    EXPECT_EQ(mine[5], base == 0 ? 3 : 1);
    EXPECT_EQ(mine[6], 10);
    EXPECT_EQ(mine[7], of(lane < 8 ? lane ^ 1 : lane ^ 2));
  }
}

// --- planted faults
// ------------------------------------------------------------------------------------------------------------------

template <bool Barrier>
__global__ void reverse_kernel(const int* in, int* out) {
  __shared__ int tile[256];
  tile[threadIdx.x] = in[blockIdx.x * 256 + threadIdx.x];
  if (Barrier) __syncthreads();
  out[blockIdx.x * 256 + threadIdx.x] = tile[255 - threadIdx.x];
}

template <bool Barrier>
__global__ void reverse_warp_kernel(const int* in, int* out) {
  int* tile = dynamic_shared<int>();
  tile[threadIdx.x] = in[threadIdx.x];
  if (Barrier) __syncwarp();
  out[threadIdx.x] = tile[31 - threadIdx.x];
}

// A sum that reuses its shared memory: the second store may not pass the first read.
template <bool Barrier>
__global__ void two_sums_kernel(const float* in, float* out) {
  float* shared = dynamic_shared<float>();
  for (int round = 0; round < 2; ++round) {
    float v = in[round * 256 + int(threadIdx.x)];
    for (int step = 16; step > 0; step >>= 1) v += __shfl_xor_sync(0xffffffffu, v, step);
    if (Barrier) __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
    __syncthreads();
    float sum = 0;
    for (int w = 0; w < 8; ++w) sum += shared[w];
    out[round * 256 + int(threadIdx.x)] = sum;
  }
}

template <bool Wait, bool Barrier>
__global__ void staged_copy_kernel(const float* in, float* out) {
  float* tile = dynamic_shared<float>();
  cp_async<16>(tile + 4 * threadIdx.x, in + 4 * threadIdx.x);
  cp_async_commit();
  if (Wait) cp_async_wait<0>();
  if (Barrier) __syncthreads();
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = tile[4 * (127 - threadIdx.x) + i];
  if (!Wait) cp_async_wait<0>();
}

// Number of seeds for which a kernel's result is correct.
template <class T, class Kernel>
int right_runs(Kernel kernel, dim3 grid, dim3 block, size_t shared, const std::vector<T>& in,
               const std::vector<T>& expected) {
  int right = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    fiber::set_seed(seed);
    DeviceArray<T> from(in), to(std::vector<T>(expected.size()));
    launch(kernel, grid, block, shared, nullptr, from.data(), to.data());
    right += to.read() == expected;
  }
  return right;
}

TEST(PlantedFault, MissingBlockBarrierIsSeen) {
  std::vector<int> in(1024), expected(1024);
  for (size_t i = 0; i < in.size(); ++i) in[i] = int(i) + 1, expected[i] = int(i / 256 * 256 + 255 - i % 256) + 1;
  EXPECT_EQ(right_runs(reverse_kernel<true>, 4, 256, 0, in, expected), 20);
  EXPECT_EQ(right_runs(reverse_kernel<false>, 4, 256, 0, in, expected), 0);
}

TEST(PlantedFault, MissingWarpBarrierIsSeen) {
  std::vector<int> in(32), expected(32);
  for (size_t i = 0; i < 32; ++i) in[i] = int(i), expected[i] = int(31 - i);
  EXPECT_EQ(right_runs(reverse_warp_kernel<true>, 1, 32, 128, in, expected), 20);
  EXPECT_EQ(right_runs(reverse_warp_kernel<false>, 1, 32, 128, in, expected), 0);
}

TEST(PlantedFault, MissingBarrierBeforeReuseIsSeen) {
  std::vector<float> in(512), expected(512);
  for (size_t i = 0; i < 512; ++i) in[i] = i < 256 ? 1.0f : 3.0f, expected[i] = i < 256 ? 256.0f : 768.0f;
  EXPECT_EQ(right_runs(two_sums_kernel<true>, 1, 256, 32, in, expected), 20);
  EXPECT_LE(right_runs(two_sums_kernel<false>, 1, 256, 32, in, expected), 10);
}

TEST(PlantedFault, MissingWaitForACopyIsSeen) {
  const std::vector<float> in = uniform(512);
  std::vector<float> expected(512);
  for (size_t i = 0; i < 512; ++i) expected[i] = in[4 * (127 - i / 4) + i % 4];
  EXPECT_EQ((right_runs(staged_copy_kernel<true, true>, 1, 128, 2048, in, expected)), 20);
  EXPECT_EQ((right_runs(staged_copy_kernel<false, true>, 1, 128, 2048, in, expected)), 0);
  EXPECT_EQ((right_runs(staged_copy_kernel<true, false>, 1, 128, 2048, in, expected)), 0);
}

__global__ void early_exit_kernel(int*) {
  if (threadIdx.x == 40) return;
  __syncthreads();
}

__global__ void two_barriers_kernel(int*) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}

__global__ void divergent_shuffle_kernel(int* out) {
  if (threadIdx.x % 32 < 16) *out = __shfl_xor_sync(0xffffffffu, 1, 1);
}

__global__ void foreign_lane_kernel(int* out) {
  if (threadIdx.x < 16) *out = __shfl_sync(0x0000ffffu, 1, 20);
}

__global__ void forgotten_copy_kernel(int* out) {
  cp_async<16>(dynamic_shared<char>(), out);
  cp_async_commit();
  cp_async_wait<1>();
}

__global__ void impatient_kernel(int*) {
  if (threadIdx.x != 7) grid_dependency_synchronize();
}

__global__ void misaligned_copy_kernel(int* out) { cp_async<16>(dynamic_shared<char>() + 4, out); }

TEST(PlantedFault, WhatWouldHangOrBeUndefinedIsAnError) {
  DeviceArray<int> out({0, 0, 0, 0});
  const auto run = [&](void (*kernel)(int*)) {
    return error_of([&] { launch(kernel, 2, 64, 64, nullptr, out.data()); });
  };
  EXPECT_NE(run(early_exit_kernel).find("thread 40 (warp 1, lane 8) has exited"), std::string::npos)
      << run(early_exit_kernel);
  EXPECT_NE(run(two_barriers_kernel).find("while others wait at another"), std::string::npos)
      << run(two_barriers_kernel);
  EXPECT_NE(run(divergent_shuffle_kernel).find("waits at the warp barrier"), std::string::npos)
      << run(divergent_shuffle_kernel);
  EXPECT_NE(run(foreign_lane_kernel).find("not in its mask"), std::string::npos) << run(foreign_lane_kernel);
  EXPECT_NE(run(misaligned_copy_kernel).find("not aligned"), std::string::npos) << run(misaligned_copy_kernel);
  EXPECT_NE(run(forgotten_copy_kernel).find("ends with copies under way"), std::string::npos)
      << run(forgotten_copy_kernel);
  EXPECT_EQ(run(impatient_kernel), "");
  const std::string impatient = error_of([&] { launch_dependent(impatient_kernel, 2, 64, 64, nullptr, out.data()); });
  EXPECT_NE(impatient.find("thread 7 (warp 0, lane 7): is a dependent launch"), std::string::npos) << impatient;
  EXPECT_NE(error_of([&] { launch(index_kernel, 1, 1025, 0, nullptr, out.data()); }), "");
  EXPECT_NE(error_of([&] { launch(index_kernel, 1, 32, 240000, nullptr, out.data()); }), "");
  launch(index_kernel, 1, 4, 0, nullptr, out.data());  // the next launch runs
  EXPECT_EQ(out.read()[3], 3);
}

// The stand-ins copy and multiply in one order, so the numbers would be right here.
TEST(PlantedFault, ResultsThatOverlapWhatTheyAreMadeOfAreErrors) {
  Context ctx(Device::cuda);
  const Buffer memory(Device::cuda, 64 * 64 * 4);
  const Tensor all(memory.data(), DType::f32, {64, 64}), x = all.cols(0, 32), w = all.rows(0, 16).cols(32, 32);
  const auto copy = [&](int64_t to) {
    return error_of([&] { cuda::copy_on_device(ctx, all.rows(to, 8).data, all.rows(8, 8).data, size_t(8) * 64 * 4); });
  };
  EXPECT_EQ(copy(0), "");
  EXPECT_EQ(copy(16), "");
  EXPECT_NE(copy(9).find("overlaps its source"), std::string::npos);
  const auto product = [&](const Tensor& a, const Tensor& y) {
    return error_of([&] { cuda::gemm_cublaslt(ctx, a, transposed(w), y); });
  };
  EXPECT_EQ(product(x.rows(0, 16), all.rows(16, 16).cols(0, 16)), "");
  EXPECT_EQ(product(x.rows(20, 30), all.rows(20, 30).cols(32, 16)), "");  // beside it in the same rows
  for (const Tensor& y : {all.rows(20, 30).cols(16, 16), all.rows(10, 30).cols(40, 16)})
    EXPECT_NE(product(x.rows(20, 30), y).find("result overlaps a factor"), std::string::npos);
}

#if !defined(__SANITIZE_ADDRESS__)
TEST(PlantedFault, HostCodeThatTouchesDeviceMemoryDies) {
  DeviceArray<int> out({1, 2});
  volatile int* p = out.data();
  EXPECT_DEATH(static_cast<void>(*p), "host code touched device memory");
}

// On a GPU the previous launch may still be writing it.
template <int Thread>
__global__ void early_read_kernel(int* out) {
  if (threadIdx.x == Thread) dynamic_shared<int>()[0] = out[0];
  __syncthreads();
  grid_dependency_synchronize();
  if (threadIdx.x == Thread) out[1] = dynamic_shared<int>()[0];
}

TEST(PlantedFault, ADependentLaunchThatTouchesMemoryBeforeItWaitsDies) {
  DeviceArray<int> out({1, 2});
  EXPECT_DEATH(launch_dependent(early_read_kernel<0>, 2, 64, 64, nullptr, out.data()), "before grid_dependency_sync");
  EXPECT_DEATH(launch_dependent(early_read_kernel<63>, 2, 64, 64, nullptr, out.data()), "before grid_dependency_sync");
  launch(early_read_kernel<63>, 2, 64, 64, nullptr, out.data());
  EXPECT_EQ(out.read()[1], 1);
}

struct Operands {
  bool wide;
  int* out;
};
__global__ void operands_kernel(Operands o) { o.out[0] += 1; }

TEST(PlantedFault, HostAddressesInArgumentsAreErrors) {
  DeviceArray<int> out({1});
  launch(operands_kernel, 1, 1, 0, nullptr, Operands{true, out.data()});
  EXPECT_EQ(out.read()[0], 2);
  int host = 1;
  const std::string stack = error_of([&] { launch(operands_kernel, 1, 1, 0, nullptr, Operands{true, &host}); });
  EXPECT_NE(stack.find("of host memory"), std::string::npos) << stack;
  const std::vector<int> values(4);
  const std::string heap = error_of([&] { launch(index_kernel, 1, 1, 0, nullptr, const_cast<int*>(values.data())); });
  EXPECT_NE(heap.find("of host memory"), std::string::npos) << heap;
}

TEST(PlantedFault, CopiesWhoseDeviceSideIsElsewhereAreErrors) {
  DeviceArray<int> out({1, 2, 3, 4});
  std::vector<int> host(4);
  const auto refused = [](void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    return error_of([&] { VPREF_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, kind)); });
  };
  EXPECT_EQ(refused(out.data() + 2, out.data(), 8, cudaMemcpyDeviceToDevice), "");
  EXPECT_EQ(out.read(), (std::vector<int>{1, 2, 1, 2}));
  for (const std::string& text : {refused(out.data(), host.data(), 8, cudaMemcpyDeviceToDevice),
                                  refused(host.data(), host.data(), 8, cudaMemcpyHostToDevice),
                                  refused(out.data(), host.data(), size_t(1) << 20, cudaMemcpyHostToDevice)})
    EXPECT_NE(text.find("not inside one allocation"), std::string::npos) << text;
}
#endif

// --- matrix instructions
// -------------------------------------------------------------------------------------------------------------

template <class T>
T narrow(float v);
template <>
__nv_bfloat16 narrow(float v) {
  return __float2bfloat16_rn(v);
}
template <>
__half narrow(float v) {
  return __float2half_rn(v);
}

// c[16][16] = a[16][16] b: b is stored [n][k] when it is Transposed (as q k^T), else [k][n] (as p v).
template <class T, bool Transposed>
__global__ void tile_kernel(const T* a, const T* b, float* c) {
  T* sa = dynamic_shared<T>();
  T* sb = sa + 256;
  const int lane = int(threadIdx.x);
  cp_async<16>(sa + 8 * lane, a + 8 * lane);
  cp_async<16>(sb + 8 * lane, b + 8 * lane);
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
  uint32_t fa[4], fb[4];
  ldmatrix_x4(fa, sa + lane % 16 * 16 + lane / 16 * 8);
  if (Transposed)
    ldmatrix_x4(fb, sb + (lane % 8 + lane / 16 * 8) * 16 + lane / 8 % 2 * 8);
  else
    ldmatrix_x4_trans(fb, sb + lane % 16 * 16 + lane / 16 * 8);
  for (int tile = 0; tile < 2; ++tile) {
    float fc[4] = {0, 0, 0, 0};
    const uint32_t part[2] = {fb[2 * tile], fb[2 * tile + 1]};
    mma_m16n8k16<T>(fc, fa, part);
    for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 16 + tile * 8 + lane % 4 * 2 + i % 2] = fc[i];
  }
}

template <class T, bool Transposed>
void check_tile() {
  const std::vector<float> a = uniform(256, 1), b = uniform(256, 2);
  std::vector<T> na, nb;
  for (float v : a) na.push_back(narrow<T>(v));
  for (float v : b) nb.push_back(narrow<T>(v));
  DeviceArray<T> da(na), db(nb);
  DeviceArray<float> c(std::vector<float>(256, NAN));
  launch(tile_kernel<T, Transposed>, 1, 32, 1024, nullptr, da.data(), db.data(), c.data());
  const std::vector<float> got = c.read();
  for (size_t i = 0; i < 16; ++i)
    for (size_t j = 0; j < 16; ++j) {
      double sum = 0;
      for (size_t k = 0; k < 16; ++k)
        sum += double(load_f32(&na[i * 16 + k])) * double(load_f32(&nb[Transposed ? j * 16 + k : k * 16 + j]));
      ASSERT_NEAR(got[i * 16 + j], sum, 1e-6) << i << ", " << j;
    }
}

TEST(Matrix, TilesOfBothTypesLoadFromBothStorageOrders) {
  check_tile<__nv_bfloat16, true>();
  check_tile<__nv_bfloat16, false>();
  check_tile<__half, true>();
  check_tile<__half, false>();
}

__global__ void tf32_kernel(const float* a, const float* b, float* c) {
  const int g = int(threadIdx.x) / 4, t = int(threadIdx.x) % 4;
  const uint32_t fa[4] = {to_tf32(a[g * 8 + t]), to_tf32(a[(g + 8) * 8 + t]), to_tf32(a[g * 8 + t + 4]),
                          to_tf32(a[(g + 8) * 8 + t + 4])};
  const uint32_t fb[2] = {to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])};
  float fc[4] = {1, 1, 1, 1};
  mma_m16n8k8_tf32(fc, fa, fb);
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = fc[i];
}

TEST(Matrix, Tf32ProductsEqualTheReference) {
  const std::vector<float> a = uniform(128, 5), b = uniform(64, 6);
  DeviceArray<float> da(a), db(b), c(std::vector<float>(128, NAN));
  launch(tf32_kernel, 1, 32, 0, nullptr, da.data(), db.data(), c.data());
  const std::vector<float> got = c.read();
  for (size_t i = 0; i < 16; ++i)
    for (size_t j = 0; j < 8; ++j) {
      double sum = 1;
      for (size_t k = 0; k < 8; ++k) sum += double(a[i * 8 + k]) * double(b[k * 8 + j]);
      ASSERT_NEAR(got[i * 8 + j], sum, 8 * 0x1p-11);
      ASSERT_NE(got[i * 8 + j], 1.0f);
    }
}

}  // namespace
}  // namespace vpref::cuda
