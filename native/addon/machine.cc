// SPDX-License-Identifier: Apache-2.0
#include "addon/machine.h"

#include <chrono>
#include <cmath>

#include "addon/promise_worker.h"
#include "core/arena.h"
#include "core/memory.h"
#include "ops/gemm.h"

namespace vpref::addon {
namespace {

std::vector<const char*> cpu_features() {
  std::vector<const char*> names;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) names.push_back("avx2");
  if (__builtin_cpu_supports("fma")) names.push_back("fma");
  if (__builtin_cpu_supports("avx512f")) names.push_back("avx512f");
  if (__builtin_cpu_supports("avx512vnni")) names.push_back("avx512vnni");
  if (__builtin_cpu_supports("avx512bf16")) names.push_back("avx512bf16");
#elif defined(__aarch64__)
  names.push_back("neon");
#endif
  return names;
}

struct Probe {
  double max_error;
  double seconds;
};

Probe probe_linear(Device device) {
  constexpr int64_t kRows = 37, kInputs = 96, kOutputs = 65;
  std::vector<float> x(kRows * kInputs), weight(kOutputs * kInputs), y(kRows * kOutputs);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(int(i * 37 % 101) - 50) / 50.0f;
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = float(int(i * 53 % 97) - 48) / 48.0f;
  Context ctx(device, 1);
  Buffer x_data(device, x.size() * 4), weight_data(device, weight.size() * 4), y_data(device, y.size() * 4);
  copy_to_device(ctx, x_data.data(), x.data(), x.size() * 4);
  copy_to_device(ctx, weight_data.data(), weight.data(), weight.size() * 4);
  const auto begin = std::chrono::steady_clock::now();
  linear(ctx, Tensor(x_data.data(), DType::f32, {kRows, kInputs}),
         Tensor(weight_data.data(), DType::f32, {kOutputs, kInputs}), nullptr,
         Tensor(y_data.data(), DType::f32, {kRows, kOutputs}));
  copy_to_host(ctx, y.data(), y_data.data(), y.size() * 4);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  double max_error = 0;
  for (int64_t t = 0; t < kRows; ++t)
    for (int64_t n = 0; n < kOutputs; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < kInputs; ++k) sum += double(x[t * kInputs + k]) * double(weight[n * kInputs + k]);
      max_error = std::max(max_error, std::abs(sum - double(y[t * kOutputs + n])));
    }
  return {max_error, took.count()};
}

}  // namespace

Napi::Value build_info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object to = Napi::Object::New(env);
  Napi::Array backends = Napi::Array::New(env);
  backends.Set(0u, "cpu");
#ifdef VPREF_CUDA
  backends.Set(1u, "cuda");
#endif
  to.Set("backends", backends);
  to.Set("matrixLibrary", VPREF_MATRIX_LIBRARY);
  Napi::Array features = Napi::Array::New(env);
  for (const char* name : cpu_features()) features.Set(features.Length(), name);
  to.Set("cpuFeatures", features);
  to.Set("compiler", __VERSION__);
  return to;
}

Napi::Value probe_device(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const bool cuda = info.Length() > 0 && info[0].IsString() && info[0].As<Napi::String>().Utf8Value() == "cuda";
    const Probe probe = probe_linear(cuda ? Device::cuda : Device::cpu);
    Napi::Object to = Napi::Object::New(env);
    to.Set("op", "linear");
    to.Set("maxError", probe.max_error);
    to.Set("seconds", probe.seconds);
    return to;
  });
}

}  // namespace vpref::addon
