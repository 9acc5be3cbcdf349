// SPDX-License-Identifier: Apache-2.0
// Shared by the attention kernels: bf16 tiles in shared memory, tile products by mma.sync, and the loop over a tile's
// key ranges.
#pragma once
#include <cmath>

#include "backend/cuda/attention_schedule.h"
#include "backend/cuda/device.cuh"

namespace vpref::cuda {

using bf16 = __nv_bfloat16;

constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// Row length of a tile in shared memory: padded by 16 bytes, so that the eight rows of an ldmatrix are in different
// banks.
template <int D>
constexpr int kRowLength = D + 8;

// 2^x to 2 units in the last place; 0 for -inf.
__device__ inline float exp2_fast(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}

// Operands and work lists of the kernels, forward and backward; T is the storage type of q, k, v and out.
template <class T>
struct AttentionArgs {
  const T *q, *k, *v;
  int64_t q_stride, k_stride, v_stride;  // in elements
  int heads, group, pack, d;
  float scale;
  const QueryTile* tiles;
  const TileRow* rows;
  const KvRange* ranges;
};

template <class T>
struct ForwardArgs : AttentionArgs<T> {  // scale includes log2(e), because exponents are powers of two
  T* out;
  int64_t out_stride;
  float* lse;          // [T, heads] or null
  float* partial;      // [slots, heads, d]
  float* partial_lse;  // [slots, heads], to base 2
};

template <class T>
struct BackwardArgs : AttentionArgs<T> {
  const T* dout;
  T *dq, *dk, *dv;
  int64_t dout_stride, dq_stride, dk_stride, dv_stride;
  const KeyTile* key_tiles;
  const TileRow* key_rows;
  const float2* stats;  // [T, heads]: lse to base 2, delta
};

// Rows and heads are indexed together, i = row * n + head. Most models have one head per group, and a division costs
// tens of instructions.
__device__ inline int row_part(int i, int n) { return n == 1 ? i : i / n; }
__device__ inline int head_part(int i, int n) { return n == 1 ? 0 : i % n; }

// The heads of one group that a block processes together: packed row r is row r / pack of its tile, head `first` + r %
// pack.
struct HeadPack {
  int pack, first, kv_head;
  __device__ HeadPack(int pack_, int group) : pack(pack_), first(int(blockIdx.y) * pack_), kv_head(first / group) {}
};

// Copies Rows rows of D elements asynchronously; source(r) is row r, or null for zeros. Rows have d elements, a
// multiple of 8.
template <int D, int Rows, int Threads, class Source>
__device__ void load_tile(bf16* to, const bf16* anywhere, int d, Source source) {
  constexpr int kChunks = D / 8;
#pragma unroll
  for (int i = threadIdx.x; i < Rows * kChunks; i += Threads) {
    const int r = i / kChunks, c = i % kChunks * 8;
    const bf16* row = source(r);
    const bool valid = row != nullptr && c < d;
    cp_async<16>(to + r * kRowLength<D> + c, valid ? row + c : anywhere, valid);
  }
}

// Adds a b to c's tiles n and n + 1; b holds the fragments of both, as one ldmatrix_x4 loads them.
template <int MTiles, int NTiles>
__device__ void add_tile_pair(float (&c)[MTiles][NTiles][4], int n, const uint32_t (&a)[MTiles][4],
                              const uint32_t (&b)[4]) {
  static_assert(NTiles % 2 == 0);
  const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
#pragma unroll
  for (int m = 0; m < MTiles; ++m) {
    mma_m16n8k16<bf16>(c[m][n], a[m], first);
    mma_m16n8k16<bf16>(c[m][n + 1], a[m], second);
  }
}

// s += a b^T.  a: [16 MTiles][D], b: [8 NTiles][D] in shared memory; s: accumulators of mma.
template <int D, int MTiles, int NTiles>
__device__ void add_row_products(float (&s)[MTiles][NTiles][4], const bf16* a, const bf16* b) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < D; k += 16) {
    uint32_t left[MTiles][4];
#pragma unroll
    for (int m = 0; m < MTiles; ++m) ldmatrix_x4(left[m], a + (m * 16 + lane % 16) * kRowLength<D> + k + lane / 16 * 8);
#pragma unroll
    for (int n = 0; n < NTiles; n += 2) {
      uint32_t right[4];
      ldmatrix_x4(right, b + (n * 8 + lane % 8 + lane / 16 * 8) * kRowLength<D> + k + lane / 8 % 2 * 8);
      add_tile_pair(s, n, left, right);
    }
  }
}

// o += p v.  p: [16 MTiles][8 NTiles] as accumulators, rounded to bf16 here; v: [8 NTiles][D] in shared memory.
template <int D, int MTiles, int NTiles>
__device__ void add_product(float (&o)[MTiles][D / 8][4], const float (&p)[MTiles][NTiles][4], const bf16* v) {
  static_assert(NTiles % 2 == 0);
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < NTiles; k += 2) {
    uint32_t left[MTiles][4];
#pragma unroll
    for (int m = 0; m < MTiles; ++m) {
      left[m][0] = pack_pair<bf16>(p[m][k][0], p[m][k][1]);
      left[m][1] = pack_pair<bf16>(p[m][k][2], p[m][k][3]);
      left[m][2] = pack_pair<bf16>(p[m][k + 1][0], p[m][k + 1][1]);
      left[m][3] = pack_pair<bf16>(p[m][k + 1][2], p[m][k + 1][3]);
    }
#pragma unroll
    for (int n = 0; n < D / 8; n += 2) {
      uint32_t right[4];
      ldmatrix_x4_trans(right, v + (k * 8 + lane % 16) * kRowLength<D> + n * 8 + lane / 16 * 8);
      add_tile_pair(o, n, left, right);
    }
  }
}

template <int A, int B, int C>
__device__ void clear(float (&x)[A][B][C]) {
#pragma unroll
  for (int a = 0; a < A; ++a)
#pragma unroll
    for (int b = 0; b < B; ++b)
#pragma unroll
      for (int c = 0; c < C; ++c) x[a][b][c] = 0.0f;
}

// Iterates over the keys in blocks of at most Step, range by range.
template <int Step>
class KeyWalk {
 public:
  __device__ KeyWalk(const KvRange* ranges, int num_ranges) : next_(ranges), left_(num_ranges), range_(*ranges) {}
  __device__ bool done() const { return left_ == 0; }
  __device__ int row() const { return range_.begin + offset_; }
  __device__ int count() const { return min(Step, range_.count - offset_); }
  // Number of hidden keys in this block, if the first `hidden` keys of all are hidden; may be negative, or more than
  // the block.
  __device__ int hidden(int hidden) const { return hidden - before_; }
  // Number of keys of this block that a row sees, if it sees `visible` keys of the last range; may be negative, or more
  // than the block.
  __device__ int seen(int visible) const { return (left_ == 1 ? visible : range_.count) - offset_; }
  __device__ void advance() {
    before_ += count();
    offset_ += Step;
    if (offset_ < range_.count) return;
    offset_ = 0;
    if (--left_ > 0) range_ = *++next_;
  }

 private:
  const KvRange* next_;
  int left_;
  KvRange range_;
  int offset_ = 0;
  int before_ = 0;  // keys of earlier blocks
};

}  // namespace vpref::cuda
