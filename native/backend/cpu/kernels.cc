// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>
#include <cstring>

namespace vpref::cpu {

namespace plain {
extern const Kernels table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}
namespace avx512bf16 {
extern const ProductKernels product;
}
#endif

namespace {

std::atomic<const Kernels*> chosen{nullptr};

#if defined(__x86_64__)
// __builtin_cpu_supports does not know F16C in every supported compiler.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c(); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

const Kernels* avx512_table() {
  static const Kernels table = [] {
    Kernels t = avx512::table;
#if defined(VPREF_AVX512BF16)
    if (__builtin_cpu_supports("avx512bf16")) t.product_bf16 = &avx512bf16::product;
#endif
    return t;
  }();
  return &table;
}
#endif

const Kernels* find(const char* name) {
#if defined(__x86_64__)
  if (has_avx512() && (!name || !std::strcmp(name, "avx512"))) return avx512_table();
  if (has_avx2() && (!name || !std::strcmp(name, "avx2"))) return &avx2::table;
#endif
  if (!name || !std::strcmp(name, "plain")) return &plain::table;
  return nullptr;
}

}  // namespace

const Kernels& kernels() {
  const Kernels* table = chosen.load(std::memory_order_relaxed);
  if (!table) chosen.store(table = find(nullptr), std::memory_order_relaxed);
  return *table;
}

bool use_kernels(const char* name) {
  const Kernels* table = find(name);
  if (table) chosen.store(table, std::memory_order_relaxed);
  return table != nullptr;
}

}  // namespace vpref::cpu
