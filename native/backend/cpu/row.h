// SPDX-License-Identifier: Apache-2.0
// Parts of rows as f32: the stored row itself if it is f32, else a converted copy in scratch.
#pragma once
#include "backend/cpu/kernels.h"
#include "core/tensor.h"

namespace vpref::cpu {

// At this length several f32 copies fit into the first-level cache.
constexpr int64_t kPiece = 2048;

inline char* row_address(const Tensor& t, int64_t row, int64_t col = 0) {
  return static_cast<char*>(t.data) + (row * t.stride[0] + col) * int64_t(dtype_size(t.dtype));
}

// n values of a row, from column col.
inline const float* read_row(const Kernels& k, const Tensor& t, int64_t row, int64_t col, int64_t n, float* scratch) {
  char* at = row_address(t, row, col);
  if (t.dtype == DType::f32) return reinterpret_cast<const float*>(at);
  k.to_f32(at, t.dtype, scratch, n);
  return scratch;
}

// Destination of n computed values: the row itself, or scratch that finish_row converts.
inline float* write_row(const Tensor& t, int64_t row, int64_t col, float* scratch) {
  return t.dtype == DType::f32 ? reinterpret_cast<float*>(row_address(t, row, col)) : scratch;
}
inline void finish_row(const Kernels& k, const Tensor& t, int64_t row, int64_t col, int64_t n, const float* values) {
  if (t.dtype != DType::f32) k.from_f32(values, row_address(t, row, col), t.dtype, n);
}

// A whole vector ([D], any float dtype) as f32.
inline const float* read_vector(const Kernels& k, const Tensor& t, float* scratch) {
  if (t.dtype == DType::f32) return t.as<float>();
  k.to_f32(t.data, t.dtype, scratch, t.dim(0));
  return scratch;
}

// A rank-1 tensor as one row, so that [n] and [T,D] share loops.
inline Tensor as_matrix(const Tensor& t) {
  if (t.rank == 2) return t;
  Tensor m = t;
  m.rank = 2;
  m.shape = {1, t.shape[0], 0, 0};
  m.stride = {t.shape[0], 1, 0, 0};
  return m;
}

inline int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

}  // namespace vpref::cpu
