// SPDX-License-Identifier: Apache-2.0
// The functions of device.cuh on the CPU, with the fragment layouts documented there.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>

#include "fiber/executor.h"

namespace vpref::cuda {

template <class T>
T* dynamic_shared() {
  return static_cast<T*>(fiber::dynamic_shared());
}

template <int Bytes>
void cp_async(void* shared, const void* global, bool valid = true) {
  fiber::copy_later(shared, global, Bytes, valid ? Bytes : 0);
}
inline void cp_async_once(void* shared, const void* global, bool valid = true) { cp_async<16>(shared, global, valid); }
inline void grid_dependency_synchronize() { fiber::grid_dependency_synchronize(); }
inline void cp_async_commit() { fiber::commit_copies(); }
template <int GroupsLeft>
void cp_async_wait() {
  fiber::wait_copies(GroupsLeft);
}
inline uint4 load_ahead(const void* global, bool valid = true) {
  if (!valid) return make_uint4(0, 0, 0, 0);
  if (reinterpret_cast<uintptr_t>(global) % 16) fiber::fail("load_ahead: the address is not 16-byte aligned");
  return *static_cast<const uint4*>(global);
}

namespace emulation {

struct Matrices {  // one lane's part of an ldmatrix
  const void* row;
  uint32_t* out;
};

template <int Count, bool Transpose>
void ldmatrix(uint32_t* out, const void* row, const fiber::Where& where) {
  if (reinterpret_cast<uintptr_t>(row) % 16) fiber::fail("ldmatrix: a row is not 16-byte aligned");
  Matrices mine{row, out};
  fiber::warp_collective(
      0xffffffffu, &mine,
      [](unsigned, void* const* operands) {
        for (int m = 0; m < Count; ++m) {
          uint16_t matrix[8][8];
          for (int i = 0; i < 8; ++i)
            std::memcpy(matrix[i], static_cast<const Matrices*>(operands[8 * m + i])->row, 16);
          for (int l = 0; l < 32; ++l) {
            const int i = l / 4, j = l % 4 * 2;
            const uint32_t low = Transpose ? matrix[j][i] : matrix[i][j],
                           high = Transpose ? matrix[j + 1][i] : matrix[i][j + 1];
            static_cast<Matrices*>(operands[l])->out[m] = low | high << 16;
          }
        }
      },
      where);
}

template <class T>
float element(uint32_t pair, int i);
template <>
inline float element<__nv_bfloat16>(uint32_t pair, int i) {
  return __bfloat162float({uint16_t(pair >> (16 * i))});
}
template <>
inline float element<__half>(uint32_t pair, int i) {
  return __half2float({uint16_t(pair >> (16 * i))});
}

struct Product {
  float* c;
  const uint32_t *a, *b;
};

// c[16][8] += a[16][K] b[K][8], by lane, as the registers hold them. Products are exact in f32, except for the order of
// sums.
template <int K, class ReadA, class ReadB>
void multiply(void* const* operands, ReadA read_a, ReadB read_b) {
  float a[16][K], b[K][8];
  for (int l = 0; l < 32; ++l) {
    const Product& p = *static_cast<const Product*>(operands[l]);
    read_a(p.a, l / 4, l % 4, a);
    read_b(p.b, l / 4, l % 4, b);
  }
  for (int l = 0; l < 32; ++l) {
    float* c = static_cast<const Product*>(operands[l])->c;
    for (int i = 0; i < 4; ++i) {
      const int row = l / 4 + i / 2 * 8, col = l % 4 * 2 + i % 2;
      float sum = 0;
      for (int k = 0; k < K; ++k) sum += a[row][k] * b[k][col];
      c[i] += sum;
    }
  }
}

inline float tf32(uint32_t bits) {
  return __uint_as_float(bits & 0xffffe000u);
}  // the hardware ignores the low 13 bits

}  // namespace emulation

inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, fiber::Where where = fiber::Where::current()) {
  emulation::ldmatrix<4, false>(r, row, where);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, fiber::Where where = fiber::Where::current()) {
  emulation::ldmatrix<4, true>(r, row, where);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row, fiber::Where where = fiber::Where::current()) {
  emulation::ldmatrix<2, false>(r, row, where);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, fiber::Where where = fiber::Where::current()) {
  emulation::ldmatrix<2, true>(r, row, where);
}

template <class T>
void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                  fiber::Where where = fiber::Where::current()) {
  emulation::Product mine{c, a, b};
  fiber::warp_collective(
      0xffffffffu, &mine,
      [](unsigned, void* const* operands) {
        emulation::multiply<16>(
            operands,
            [](const uint32_t* r, int g, int t, float (&m)[16][16]) {
              for (int i = 0; i < 4; ++i)
                for (int j = 0; j < 2; ++j) m[g + i % 2 * 8][2 * t + i / 2 * 8 + j] = emulation::element<T>(r[i], j);
            },
            [](const uint32_t* r, int g, int t, float (&m)[16][8]) {
              for (int i = 0; i < 2; ++i)
                for (int j = 0; j < 2; ++j) m[2 * t + i * 8 + j][g] = emulation::element<T>(r[i], j);
            });
      },
      where);
}

inline void mma_m16n8k8_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             fiber::Where where = fiber::Where::current()) {
  emulation::Product mine{c, a, b};
  fiber::warp_collective(
      0xffffffffu, &mine,
      [](unsigned, void* const* operands) {
        emulation::multiply<8>(
            operands,
            [](const uint32_t* r, int g, int t, float (&m)[16][8]) {
              for (int i = 0; i < 4; ++i) m[g + i % 2 * 8][t + i / 2 * 4] = emulation::tf32(r[i]);
            },
            [](const uint32_t* r, int g, int t, float (&m)[8][8]) {
              for (int i = 0; i < 2; ++i) m[t + i * 4][g] = emulation::tf32(r[i]);
            });
      },
      where);
}

inline uint32_t to_tf32(float v) {  // round to nearest, ties away from zero
  const uint32_t u = __float_as_uint(v);
  return (u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & 0xffffe000u;
}

}  // namespace vpref::cuda
