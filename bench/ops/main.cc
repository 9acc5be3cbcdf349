// SPDX-License-Identifier: Apache-2.0
// ops_bench [THREADS] [wall|cpu] [gemm|packed|attention|rows]
// ops_bench --device cuda: NDJSON, one row a shape: milliseconds, GFLOP/s, GB/s and the share of the peak measured in
// the same run. `cpu` takes processor time divided by the threads: for a machine that others use at the same time (with
// OMP_WAIT_POLICY=passive).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "backend/cpu/kernels.h"
#include "bench.h"
#include "core/error.h"
#include "core/memory.h"
#include "ops/elementwise.h"
#include "ops/gemm.h"

namespace vpref::bench {
namespace {

double peak_f32 = 0, peak_bf16 = 0, peak_bytes = 0;
int cpu_threads = 0;  // 0: wall time
Context* device = nullptr;
#ifdef VPREF_FIBER
constexpr bool kTried = true;  // small products: only the bench itself is tried
#else
constexpr bool kTried = false;
#endif

double now() {
  timespec t;
  clock_gettime(cpu_threads ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return (double(t.tv_sec) + 1e-9 * double(t.tv_nsec)) / (cpu_threads ? cpu_threads : 1);
}

double median(std::vector<double>& times) {
  std::nth_element(times.begin(), times.begin() + std::ptrdiff_t(times.size() / 2), times.end());
  return times[times.size() / 2];
}

// A launch returns at once, so many are queued between two waits.
double queued_seconds(const std::function<void()>& run, double budget) {
  const auto several = [&](int count) {
    synchronize(*device);
    const double before = now();
    for (int i = 0; i < count; ++i) run();
    synchronize(*device);
    return now() - before;
  };
  int count = 1;
  while (count < 4096 && several(count) < 3e-3) count *= 2;
  std::vector<double> times;
  const double start = now();
  while (times.size() < 5 || now() - start < budget) times.push_back(several(count) / count);
  return median(times);
}

}  // namespace

double median_seconds(const std::function<void()>& run, double budget) {
  run();
  if (device->device == Device::cuda) return queued_seconds(run, budget);
  std::vector<double> times;
  const double start = now();
  while (times.size() < 5 || now() - start < budget) {
    const double before = now();
    run();
    times.push_back(now() - before);
  }
  return median(times);
}

void set_peaks(double gflops_f32, double gflops_bf16, double gigabytes) {
  peak_f32 = gflops_f32, peak_bf16 = gflops_bf16, peak_bytes = gigabytes;
}

void report(const Context& ctx, const Row& r) {
  std::printf("{\"op\":\"%s\",\"shape\":\"%s\",\"dtype\":\"%s\",", r.op.c_str(), r.shape.c_str(), r.dtype.c_str());
  if (ctx.device == Device::cuda)
    std::printf("\"device\":\"cuda\",");
  else
    std::printf("\"threads\":%d,\"kernels\":\"%s\",", ctx.num_threads, cpu::kernels().name);
  std::printf("\"ms\":%.4f", r.seconds * 1e3);
  if (r.flops > 0) {
    const double rate = r.flops / r.seconds / 1e9, peak = r.dtype == "bf16" ? peak_bf16 : peak_f32;
    std::printf(",\"gflops\":%.1f,\"share_of_gemm_peak\":%.2f", rate, rate / peak);
  }
  if (r.bytes > 0)
    std::printf(",\"gbytes_per_s\":%.1f,\"share_of_copy\":%.2f", r.bytes / r.seconds / 1e9,
                r.bytes / r.seconds / 1e9 / peak_bytes);
  std::printf("}\n");
  std::fflush(stdout);
}

Data::Data(DType dtype, std::initializer_list<int64_t> shape) : view_(nullptr, dtype, shape) {
  buffer_ = Buffer(device->device, view_.bytes());
  view_.data = buffer_.data();
  uint32_t state = 1;
  write_to_device(*device, view_.data, view_.bytes(), 4, [&](void* to, size_t, size_t bytes) {
    for (size_t i = 0; i < bytes / dtype_size(dtype); ++i) {
      state = state * 1664525u + 1013904223u;
      const float value = float(int32_t(state) >> 8) * 0x1p-23f;
      if (dtype == DType::f32)
        static_cast<float*>(to)[i] = value;
      else if (dtype == DType::bf16)
        static_cast<bf16_t*>(to)[i] = to_bf16(value);
      else
        static_cast<f16_t*>(to)[i] = to_f16(value);
    }
  });
}

Data::Data(std::initializer_list<int64_t> shape, const std::vector<int32_t>& values)
    : view_(nullptr, DType::i32, shape) {
  buffer_ = Buffer(device->device, view_.bytes());
  view_.data = buffer_.data();
  copy_to_device(*device, view_.data, values.data(), view_.bytes());
}

namespace {

void use(Context& ctx, int processor_threads) {
  device = &ctx;
  cpu_threads = processor_threads;
}

double gemm_rate(Context& ctx, DType dtype) {
  const int64_t n = kTried ? 64 : ctx.device == Device::cpu ? 1024 : dtype == DType::bf16 ? 8192 : 4096;
  const Data a(dtype, {n, n}), b(dtype, {n, n}), c(dtype, {n, n});
  return 2.0 * double(n * n * n) / median_seconds([&] { gemm(ctx, a.view(), transposed(b.view()), c.view()); }) / 1e9;
}

void copy(Context& ctx, const Tensor& a, const Tensor& b) {
  if (ctx.device == Device::cpu)
    convert(ctx, a, b);
  else
    copy_on_device(ctx, b.data, a.data, a.bytes());
}

double copy_rate(Context& ctx) {
  const int64_t n = int64_t(1) << (kTried ? 12 : ctx.device == Device::cpu ? 26 : 28);
  const Data a(DType::f32, {n}), b(DType::f32, {n});
  return 2.0 * double(n) * 4 / median_seconds([&] { copy(ctx, a.view(), b.view()); }) / 1e9;
}

}  // namespace
}  // namespace vpref::bench

int main(int argc, char** argv) try {
  using namespace vpref;
  const bool cuda = argc > 2 && !std::strcmp(argv[1], "--device") && !std::strcmp(argv[2], "cuda");
  Context ctx(cuda ? Device::cuda : Device::cpu, !cuda && argc > 1 ? std::max(1, std::atoi(argv[1])) : 2);
  const bool processor_time = !cuda && argc > 2 && !std::strcmp(argv[2], "cpu");
  bench::use(ctx, processor_time ? ctx.num_threads : 0);
  const double f32 = bench::gemm_rate(ctx, DType::f32), bf16 = bench::gemm_rate(ctx, DType::bf16),
               copy = bench::copy_rate(ctx);
  std::printf("{\"time\":\"%s\",\"peak_gflops_f32\":%.1f,\"peak_gflops_bf16\":%.1f,\"copy_gbytes_per_s\":%.1f}\n",
              processor_time ? "cpu" : "wall", f32, bf16, copy);
  std::fflush(stdout);
  bench::set_peaks(f32, bf16, copy);
  if (cuda) return bench::bench_cuda(ctx) > 0 ? 1 : 0;
  const std::string only = !cuda && argc > 3 ? argv[3] : "";
  const std::pair<const char*, void (*)(Context&)> groups[] = {{"gemm", bench::bench_gemm},
                                                               {"packed", bench::bench_packed},
                                                               {"attention", bench::bench_attention},
                                                               {"rows", bench::bench_rows}};
  for (const auto& [name, run] : groups)
    if (only.empty() || only == name) run(ctx);
} catch (const vpref::Error& e) {
  std::fprintf(stderr, "%s: %s\n", e.code().c_str(), e.what());
  return 1;
}
