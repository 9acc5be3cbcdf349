// SPDX-License-Identifier: Apache-2.0
// Chooses the attention kernels: tensor cores for bf16 rows aligned to 16 bytes, else plain f32 arithmetic. Also holds
// the kernels before and after both.
#include "ops/attention.h"

#include "backend/cuda/attention_kernels.h"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/vector.cuh"
#include "ops/check.h"

namespace vpref::cuda {
namespace {

// --- kernels
// ----------------------------------------------------------------------

template <class T>
struct MergeArgs {
  const MergeRow* merges;
  const int32_t* slots;
  const float *partial, *partial_lse;
  T* out;
  float* lse;
  int64_t out_stride;
  int heads, d;
};

// One warp per row and head: adds the partial results, weighted by their shares of the sum, in list order.
template <class T>
__global__ void __launch_bounds__(128) attention_merge_kernel(const MergeArgs<T> a) {
  grid_dependency_synchronize();
  const int head = int(blockIdx.y) * 4 + int(threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (head >= a.heads) return;
  const MergeRow row = a.merges[blockIdx.x];
  if (row.num_slots == 0) return;
  const auto at = [&](int i) { return int64_t(a.slots[row.first_slot + i]) * a.heads + head; };
  float max = -INFINITY, sum = 0.0f;
  for (int i = 0; i < row.num_slots; ++i) max = fmaxf(max, a.partial_lse[at(i)]);
  for (int i = 0; i < row.num_slots; ++i) sum += exp2f(a.partial_lse[at(i)] - max);
  T* out = a.out + row.row * a.out_stride + int64_t(head) * a.d;
  for (int c = lane; c < a.d; c += 32) {
    float total = 0.0f;
    for (int i = 0; i < row.num_slots; ++i) total += exp2f(a.partial_lse[at(i)] - max) * a.partial[at(i) * a.d + c];
    store_f32(out + c, total / sum);
  }
  if (a.lse && lane == 0) a.lse[int64_t(row.row) * a.heads + head] = (max + log2f(sum)) * kLn2;
}

template <class T>
struct StatsArgs {
  const T *dout, *out;
  int64_t dout_stride, out_stride;
  const float* lse;
  float2* stats;
  int64_t num;  // rows x heads
  int heads, d;
};

// stats = (lse to base 2, rowsum(dout out)). One warp per row and head.
template <class T>
__global__ void __launch_bounds__(128) attention_stats_kernel(const StatsArgs<T> a) {
  const int64_t i = int64_t(blockIdx.x) * 4 + threadIdx.x / 32;
  if (i >= a.num) return;
  const int64_t t = i / a.heads, head = i % a.heads;
  const T *g = a.dout + t * a.dout_stride + head * a.d, *o = a.out + t * a.out_stride + head * a.d;
  float delta = 0.0f;
  for (int c = threadIdx.x % 32; c < a.d; c += 32) delta = fmaf(load_f32(g + c), load_f32(o + c), delta);
  for (int step = 16; step > 0; step >>= 1) delta += __shfl_xor_sync(0xffffffffu, delta, step);
  if (threadIdx.x % 32 == 0) a.stats[i] = make_float2(a.lse[i] * kLog2E, delta);
}

// --- launchers
// ----------------------------------------------------------------------

bool aligned_rows(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && (t.dim(0) <= 1 || t.stride[0] % 8 == 0);
}

AttentionKernels kernels_for(DType dtype, int64_t head_dim) {
  return dtype == DType::bf16 && head_dim <= kMatrixHeadDim && head_dim % 8 == 0 ? AttentionKernels::matrix
                                                                                 : AttentionKernels::plain;
}

template <class... Operands>
AttentionKernels kernels_for(const Tensor& q, const Operands&... operands) {
  return (aligned_rows(q) && ... && aligned_rows(operands)) ? kernels_for(q.dtype, q.dim(2)) : AttentionKernels::plain;
}

void check_limits(const char* op, const Tensor& q, float scale) {
  check(q.dim(2) <= kPlainHeadDim, "shape", "[", op, "] device cuda: expected heads of at most ", kPlainHeadDim,
        " elements, got ", q.dim(2));
  check(scale > 0, "shape", "[", op, "] device cuda: expected a positive scale, got ", scale);
}

// Everything except the query tiles, because the forward has several lists of them.
template <class T, class Lists>
void fill_args(AttentionArgs<T>& a, const Qkv& x, float scale, const Lists& lists) {
  const auto& [q, k, v] = x;
  a.q = q.as<T>();
  a.k = k.as<T>();
  a.v = v.as<T>();
  a.q_stride = q.stride[0];
  a.k_stride = k.stride[0];
  a.v_stride = v.stride[0];
  a.heads = int(q.dim(1));
  a.group = int(q.dim(1) / k.dim(1));
  a.pack = packed_heads(q.dim(1), k.dim(1));
  a.d = int(q.dim(2));
  a.scale = scale;
  a.rows = lists.rows;
  a.ranges = lists.ranges;
}

template <class T>
ForwardArgs<T> forward_args(const Qkv& x, float scale, const AttentionOutput& to, const ForwardLists& lists) {
  ForwardArgs<T> a{};
  fill_args(a, x, scale * kLog2E, lists);
  a.out = to.out.as<T>();
  a.out_stride = to.out.stride[0];
  a.lse = to.lse.as<float>();
  return a;
}

template <class T>
void merge(Context& ctx, const ForwardArgs<T>& a, const ForwardLists& lists) {
  if (lists.num_merges == 0) return;
  const MergeArgs<T> m{lists.merges, lists.slots, a.partial, a.partial_lse, a.out, a.lse, a.out_stride, a.heads, a.d};
  launch_dependent(attention_merge_kernel<T>, dim3(unsigned(lists.num_merges), unsigned(a.heads + 3) / 4), dim3(128), 0,
                   stream_of(ctx), m);
}

template <class T>
void forward(Context& ctx, AttentionKernels kernels, ForwardArgs<T> a, const ForwardLists& lists) {
  const size_t slots = size_t(lists.num_slots) * size_t(a.heads);
  if (slots > 0) {
    a.partial = static_cast<float*>(ctx.workspace.get(slots * size_t(a.d + 1) * sizeof(float)));
    a.partial_lse = a.partial + slots * size_t(a.d);
  }
  if constexpr (std::is_same_v<T, bf16>) {
    if (kernels == AttentionKernels::matrix) {
      launch_matrix_forward(ctx, a, lists);
      return merge(ctx, a, lists);
    }
  }
  launch_plain_forward(ctx, a, lists);
  merge(ctx, a, lists);
}

template <class T>
BackwardArgs<T> backward_args(const Tensor& dout, const Qkv& x, float scale, const Qkv& dx,
                              const BackwardLists& lists) {
  BackwardArgs<T> a{};
  fill_args(a, x, scale, lists);
  a.dout = dout.as<T>();
  a.dq = dx.q.as<T>();
  a.dk = dx.k.as<T>();
  a.dv = dx.v.as<T>();
  a.dout_stride = dout.stride[0];
  a.dq_stride = dx.q.stride[0];
  a.dk_stride = dx.k.stride[0];
  a.dv_stride = dx.v.stride[0];
  a.tiles = lists.tiles;
  a.key_tiles = lists.key_tiles;
  a.key_rows = lists.key_rows;
  return a;
}

template <class T>
void backward(Context& ctx, AttentionKernels kernels, BackwardArgs<T> a, const AttentionOutput& forward,
              const BackwardLists& lists) {
  const auto& [out, lse] = forward;
  const int64_t num = lse.numel();
  float2* stats = static_cast<float2*>(ctx.workspace.get(size_t(num) * sizeof(float2)));
  a.stats = stats;
  if (num > 0)
    launch(attention_stats_kernel<T>, dim3(unsigned((num + 3) / 4)), dim3(128), 0, stream_of(ctx),
           StatsArgs<T>{a.dout, out.as<T>(), a.dout_stride, out.stride[0], lse.as<float>(), stats, num, a.heads, a.d});
  if constexpr (std::is_same_v<T, bf16>) {
    if (kernels == AttentionKernels::matrix) return launch_matrix_backward(ctx, a, lists);
  }
  launch_plain_backward(ctx, a, lists);
}

}  // namespace

std::vector<uint64_t> prepare_attention(Context& ctx, const AttentionPlan& plan, DType dtype, int64_t heads,
                                        int64_t kv_heads, int64_t head_dim) {
  const ForwardLists l = forward_lists(ctx, plan, heads, kv_heads, kernels_for(dtype, head_dim));
  std::vector<uint64_t> all;
  for (const void* p : {(const void*)l.rows, (const void*)l.ranges, (const void*)l.wide, (const void*)l.tiles,
                        (const void*)l.decode, (const void*)l.merges, (const void*)l.slots})
    all.push_back(reinterpret_cast<uintptr_t>(p));
  for (const int n : {l.num_wide, l.num_tiles, l.num_decode, l.num_merges, l.num_slots}) all.push_back(uint64_t(n));
  return all;
}

void attention(Context& ctx, const Qkv& x, const AttentionPlan& plan, float scale, const AttentionOutput& to) {
  const auto& [q, k, v] = x;
  check_limits("attention", q, scale);
  const AttentionKernels kernels = kernels_for(q, k, v, to.out);
  const ForwardLists& lists = forward_lists(ctx, plan, q.dim(1), k.dim(1), kernels);
  if (q.dtype == DType::f32) return forward(ctx, kernels, forward_args<float>(x, scale, to, lists), lists);
  forward(ctx, kernels, forward_args<bf16>(x, scale, to, lists), lists);
}

void attention_backward(Context& ctx, const Tensor& dout, const Qkv& x, const AttentionOutput& forward,
                        const AttentionPlan& plan, float scale, const Qkv& dx) {
  const auto& [q, k, v] = x;
  check_limits("attention_backward", q, scale);
  const AttentionKernels kernels = kernels_for(q, k, v, forward.out, dout, dx.q, dx.k, dx.v);
  const BackwardLists& lists = backward_lists(ctx, plan, q.dim(1), k.dim(1), k.dim(0), kernels);
  if (q.dtype == DType::f32)
    return backward(ctx, kernels, backward_args<float>(dout, x, scale, dx, lists), forward, lists);
  backward(ctx, kernels, backward_args<bf16>(dout, x, scale, dx, lists), forward, lists);
}

}  // namespace vpref::cuda
