// SPDX-License-Identifier: Apache-2.0
// Matrix products by oneDNN, versions 2 and 3. Primitives are cached by shape, because creating one takes up to half a
// millisecond. The cache is small: each primitive holds about 300 KB of generated code, packed batches rarely repeat a
// number of rows, and shapes repeat mostly within one step.
#include "backend/cpu/matmul.h"

#ifdef VPREF_DNNL
#include <omp.h>
#include <dnnl.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>

#include "core/error.h"
#endif

namespace vpref::cpu {

#ifdef VPREF_DNNL
namespace {

using Key = std::array<int64_t, 12>;

constexpr size_t kKeptPrimitives = 192;

struct Kept {
  dnnl::matmul primitive;
  uint64_t used;  // State::calls at its last use
};

struct State {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<Key, Kept> primitives;
  uint64_t calls = 0;
  // The library's own cache would keep primitives that are evicted here.
  State() { dnnl::set_primitive_cache_capacity(0); }
};

// One per engine thread, because neither streams nor the map are shared.
State& state() {
  thread_local State s;
  return s;
}

dnnl::memory::data_type type_of(DType t) {
  return t == DType::f32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

// The stride of a dimension of size one has no meaning, but an unusual value disables oneDNN's fast kernels.
dnnl::memory::desc describe(int64_t rows, int64_t cols, DType dtype, int64_t row, int64_t col) {
  if (rows == 1) row = col == 1 ? cols : 1;
  if (cols == 1) col = row == 1 ? rows : 1;
  return {{rows, cols}, type_of(dtype), dnnl::memory::dims{row, col}};
}

dnnl::primitive_attr attributes(const Matmul& p) {
  dnnl::primitive_attr attr;
  attr.set_fpmath_mode(dnnl::fpmath_mode::strict);
  dnnl::post_ops ops;
#if DNNL_VERSION_MAJOR >= 3
  if (p.alpha != 1.0f) ops.append_eltwise(dnnl::algorithm::eltwise_linear, p.alpha, 0.0f);
#else
  if (p.alpha != 1.0f) attr.set_output_scales(0, {p.alpha});
#endif
  if (p.beta != 0.0f) ops.append_sum(p.beta);
  attr.set_post_ops(ops);
  return attr;
}

dnnl::matmul make(const dnnl::engine& engine, const Matmul& p, const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                  const dnnl::memory::desc& c) {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::matmul(dnnl::matmul::primitive_desc(engine, a, b, c, attributes(p)));
#else
  return dnnl::matmul(dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), attributes(p), engine));
#endif
}

int64_t bits_of(float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  return u;
}

bool supported(const Matmul& p) {
  if (p.a_dtype != p.b_dtype || p.k == 0) return false;
  if (p.a_dtype == DType::f32) return p.c_dtype == DType::f32;
  return p.a_dtype == DType::bf16 && has_bf16_dot() && p.c_dtype != DType::f16;
}

}  // namespace

bool matmul_dnnl(Context& ctx, const Matmul& p) {
  if (!supported(p)) return false;
  const int threads = ctx.num_threads < 1 ? 1 : ctx.num_threads;
  if (omp_get_max_threads() != threads) omp_set_num_threads(threads);
  State& s = state();
  const auto a = describe(p.m, p.k, p.a_dtype, p.a_row, p.a_col), b = describe(p.k, p.n, p.b_dtype, p.b_row, p.b_col);
  const auto c = describe(p.m, p.n, p.c_dtype, p.c_row, 1);
  const int64_t kinds = int64_t(p.a_dtype) | int64_t(p.c_dtype) << 8;
  const Key key = {p.m,     p.n,     p.k,   p.a_row,          p.a_col,         p.b_row,
                   p.b_col, p.c_row, kinds, bits_of(p.alpha), bits_of(p.beta), threads};
  try {
    auto found = s.primitives.find(key);
    if (found == s.primitives.end()) {
      if (s.primitives.size() >= kKeptPrimitives) {
        s.primitives.erase(std::min_element(s.primitives.begin(), s.primitives.end(), [](const auto& x, const auto& y) {
          return x.second.used < y.second.used;
        }));
      }
      found = s.primitives.emplace(key, Kept{make(s.engine, p, a, b, c), 0}).first;
    }
    found->second.used = ++s.calls;
    const auto memory = [&](const dnnl::memory::desc& d, const void* data) {
      return dnnl::memory(d, s.engine, const_cast<void*>(data));
    };
    std::unordered_map<int, dnnl::memory> arguments = {
        {DNNL_ARG_SRC, memory(a, p.a)}, {DNNL_ARG_WEIGHTS, memory(b, p.b)}, {DNNL_ARG_DST, memory(c, p.c)}};
    found->second.primitive.execute(s.stream, arguments);
    s.stream.wait();
  } catch (const dnnl::error& e) {
    if (e.status == dnnl_unimplemented) return false;
    throw Error(e.status == dnnl_out_of_memory ? "memory" : "internal",
                cat("oneDNN: ", e.message, " (", p.m, " x ", p.k, " x ", p.n, ")"));
  }
  return true;
}
#else
bool matmul_dnnl(Context&, const Matmul&) { return false; }
#endif

bool has_bf16_dot() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace vpref::cpu
