// SPDX-License-Identifier: Apache-2.0
// One block per row, without sorting. The token at which the cumulative probability exceeds a goal is found by fixing
// its logit two bits at a time: each pass sums the weights above three candidates. Weights are summed as integers, so
// any order gives the same sum.
#include "ops/sample_token.h"

#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/philox.cuh"
#include "backend/cuda/softmax.cuh"

namespace vpref::cuda {
namespace {

using Sum64 = unsigned long long;
constexpr float kWeightOne = 0x1p44f;  // the weight of the most probable token; 2^19 such weights fit into 64 bits

// Maps a float to an integer of the same order, except NaN; both zeros have the same key.
__device__ unsigned order_key(float v) {
  const unsigned bits = __float_as_uint(v + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ float key_value(unsigned key) { return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

// The uniform random word of a row, as in core/philox.h.
__device__ unsigned philox_word(const SampleParams& p) {
  unsigned c[4] = {p.position, p.branch, unsigned(p.rng_key), unsigned(p.rng_key >> 32)};
  philox4x32(p.seed, c);
  return c[0];
}

template <class X>
struct Row {
  const X* logits;
  int64_t v;
  bool wide;
  float max, inverse_temperature;
  __device__ Sum64 weight(float logit) const { return Sum64(expf((logit - max) * inverse_temperature) * kWeightOne); }
};

struct Sums {
  Sum64 s[3];
};

__device__ Sums block_sums(Sums a, Sums* shared /* [32] */) {
#pragma unroll
  for (int i = 0; i < 3; ++i)
#pragma unroll
    for (int step = 16; step > 0; step >>= 1) a.s[i] += __shfl_xor_sync(0xffffffffu, a.s[i], step);
  __syncthreads();  // earlier sums may still be read
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = a;
  __syncthreads();
  a = {};
  for (int w = 0; w < int(blockDim.x / 32); ++w)
#pragma unroll
    for (int i = 0; i < 3; ++i) a.s[i] += shared[w].s[i];
  return a;
}

// For each of three ascending keys: the weight at or above it. `counted`: the number of tokens instead.
template <class X>
__device__ Sums sums_from(const Row<X>& row, unsigned k0, unsigned k1, unsigned k2, bool counted, Sums* shared) {
  Sums a{};
  for (int64_t col = int64_t(threadIdx.x) * kGroup; col < row.v; col += int64_t(blockDim.x) * kGroup) {
    float v[kGroup];
    load_group(row.logits + col, row.v - col, row.wide, v);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      if (col + i >= row.v) break;
      const unsigned key = order_key(v[i]);
      if (key < k0) continue;
      const Sum64 w = counted ? 1 : row.weight(v[i]);
      a.s[0] += w;
      if (key >= k1) a.s[1] += w;
      if (key >= k2) a.s[2] += w;
    }
  }
  return block_sums(a, shared);
}

// A place in the order of decreasing logit, then increasing id.
struct Place {
  unsigned key;
  Sum64 above;  // weight above `key`
  Sum64 tie;    // number of tokens of this key before it
};

// The token at which the sum, in that order, first exceeds `goal` (which must be below the total).
template <class X>
__device__ Place find(const Row<X>& row, Sum64 goal, bool counted, Sums* shared) {
  unsigned key = 0;
  for (int shift = 30; shift >= 0; shift -= 2) {
    const unsigned step = 1u << shift;
    const Sums s = sums_from(row, key + step, key + 2 * step, key + 3 * step, counted, shared);
    key += s.s[2] > goal ? 3 * step : s.s[1] > goal ? 2 * step : s.s[0] > goal ? step : 0;
  }
  // No logit has the maximum key.
  const Sum64 above = sums_from(row, key + 1, ~0u, ~0u, counted, shared).s[0],
              each = counted ? 1 : row.weight(key_value(key));
  return {key, above, each > 0 ? (goal - above) / each : 0};
}

// The id of the tie-th token with this key.
template <class X>
__device__ int64_t id_at(const Row<X>& row, const Place& place, unsigned* shared /* [32] */) {
  Sum64 left = place.tie;
  for (int64_t base = 0; base < row.v; base += blockDim.x) {
    const int64_t id = base + threadIdx.x;
    const unsigned same = __ballot_sync(0xffffffffu, id < row.v && order_key(load_f32(row.logits + id)) == place.key);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = same;
    __syncthreads();
    for (int w = 0; w < int(blockDim.x / 32); ++w) {
      unsigned bits = shared[w];
      const unsigned here = unsigned(__popc(bits));
      if (left >= here) {
        left -= here;
        continue;
      }
      for (; left > 0; --left) bits &= bits - 1;
      return base + w * 32 + __ffs(int(bits)) - 1;
    }
  }
  return -1;
}

template <class X>
__device__ Place sample(const Row<X>& row, const SampleParams& p, Sums* shared) {
  if (p.temperature == 0.0f) return {order_key(row.max), 0, 0};
  Sum64 total;
  if (p.top_k > 0 && p.top_k < row.v) {
    const Place last = find(row, Sum64(p.top_k) - 1, true, shared);
    total =
        sums_from(row, last.key + 1, ~0u, ~0u, false, shared).s[0] + (last.tie + 1) * row.weight(key_value(last.key));
  } else {
    total = sums_from(row, 0, ~0u, ~0u, false, shared).s[0];
  }
  if (p.top_p < 1.0f) {  // the smallest set of tokens whose sum reaches the goal
    const Sum64 goal = Sum64(ceil(double(p.top_p) * double(total)));
    const Place last = find(row, goal > 0 ? goal - 1 : 0, false, shared);
    total = last.above + (last.tie + 1) * row.weight(key_value(last.key));
  }
  // (x + 0.5) 2^-32 of the total.
  const Sum64 goal = __umul64hi(total, (2 * Sum64(philox_word(p)) + 1) << 31);
  return find(row, goal, false, shared);
}

template <class X>
__global__ void __launch_bounds__(kRowThreads, 1)
    sample_token_kernel(const X* logits, const SampleParams* params, int32_t* token, float* logp, int64_t v,
                        int64_t stride, bool wide) {
  __shared__ float shared[32];
  __shared__ Sums sums[32];
  __shared__ unsigned ballots[32];
  grid_dependency_synchronize();
  const int r = int(blockIdx.x);
  const SampleParams p = params[r];
  Row<X> row{logits + r * stride, v, wide, 0.0f, p.temperature > 0.0f ? 1.0f / p.temperature : 0.0f};
  const RowSum s = row_sum(row.logits, v, wide, shared);
  if (!(s.max > Max::kEmpty && isfinite(s.max) && isfinite(s.sum))) {
    if (threadIdx.x == 0) {
      token[r] = -1;
      logp[r] = NAN;
    }
    return;
  }
  row.max = s.max;
  const int64_t id = id_at(row, sample(row, p, sums), ballots);
  if (threadIdx.x > 0) return;
  token[r] = int32_t(id);
  logp[r] = load_f32(row.logits + id) - s.max - logf(s.sum);
}

}  // namespace

void sample_token(Context& ctx, const Tensor& logits, const Tensor& params, const Tensor& token, const Tensor& logp) {
  with_activation_type("sample_token", logits.dtype, [&](auto* t) {
    using X = std::remove_pointer_t<decltype(t)>;
    launch_dependent(sample_token_kernel<X>, unsigned(logits.dim(0)), threads_for_vocabulary(logits.dim(1)), 0,
                     stream_of(ctx), logits.as<X>(), params.as<SampleParams>(), token.as<int32_t>(), logp.as<float>(),
                     logits.dim(1), logits.stride[0], wide_rows(logits));
  });
}

}  // namespace vpref::cuda
