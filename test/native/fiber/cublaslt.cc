// SPDX-License-Identifier: Apache-2.0
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "fiber/device_memory.h"
#include "fiber/stream.h"

namespace {

float get(const void* data, cudaDataType_t type, int64_t i) {
  switch (type) {
    case CUDA_R_32F:
      return static_cast<const float*>(data)[i];
    case CUDA_R_16BF:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[i]);
    case CUDA_R_16F:
      return __half2float(static_cast<const __half*>(data)[i]);
  }
  return NAN;
}

void put(void* data, cudaDataType_t type, int64_t i, float v) {
  switch (type) {
    case CUDA_R_32F:
      static_cast<float*>(data)[i] = v;
      return;
    case CUDA_R_16BF:
      static_cast<__nv_bfloat16*>(data)[i] = __float2bfloat16_rn(v);
      return;
    case CUDA_R_16F:
      static_cast<__half*>(data)[i] = __float2half_rn(v);
      return;
  }
}

// op(m), with columns of `rows` contiguous elements.
std::vector<float> read(const void* data, const FiberLayout& m, cublasOperation_t op, int64_t& rows, int64_t& cols) {
  rows = int64_t(op == CUBLAS_OP_N ? m.rows : m.cols);
  cols = int64_t(op == CUBLAS_OP_N ? m.cols : m.rows);
  std::vector<float> values(size_t(rows * cols));
  for (int64_t j = 0; j < cols; ++j)
    for (int64_t i = 0; i < rows; ++i)
      values[size_t(j * rows + i)] = get(data, m.type, op == CUBLAS_OP_N ? j * m.ld + i : i * m.ld + j);
  return values;
}

int64_t size_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

// Whether two matrices share a byte. They may be interleaved, as columns of one tensor are.
bool overlap(const void* a, const FiberLayout& la, const void* b, const FiberLayout& lb) {
  const auto at = [](const void* p) { return int64_t(reinterpret_cast<uintptr_t>(p)); };
  const auto width = [](const FiberLayout& l) { return int64_t(l.rows) * size_of(l.type); };
  const auto pitch = [](const FiberLayout& l) { return l.ld * size_of(l.type); };
  const auto end = [&](const void* p, const FiberLayout& l) {
    return at(p) + (int64_t(l.cols) - 1) * pitch(l) + width(l);
  };
  if (at(b) >= end(a, la) || at(a) >= end(b, lb)) return false;
  if (pitch(la) != pitch(lb)) return true;
  const int64_t behind = ((at(b) - at(a)) % pitch(la) + pitch(la)) % pitch(la);
  return behind < width(la) || behind + width(lb) > pitch(la);
}

}  // namespace

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  if (bytes != (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof(void*) : sizeof(int32_t)))
    return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      desc->epilogue = *static_cast<const cublasLtEpilogue_t*>(value);
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      desc->bias = *static_cast<const void* const*>(value);
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_TRANSA:
      desc->a = *static_cast<const cublasOperation_t*>(value);
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      desc->b = *static_cast<const cublasOperation_t*>(value);
      return CUBLAS_STATUS_SUCCESS;
  }
  return CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  if (bytes != (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? sizeof(uint64_t) : sizeof(uint32_t)))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (attribute >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)
    p->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES] = *static_cast<const uint32_t*>(value);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
  *layout = new FiberLayout{type, rows, cols, ld};
  return CUBLAS_STATUS_SUCCESS;
}

// As the library, refuses products that it cannot compute.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t promised, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  const bool types = a->type == b->type && c->type == d->type && (c->type == a->type || c->type == CUDA_R_32F);
  const bool strides = a->ld >= int64_t(a->rows) && b->ld >= int64_t(b->rows) && c->ld >= int64_t(c->rows);
  if (!types || !strides || wanted < 1) return CUBLAS_STATUS_NOT_SUPPORTED;
  results[0] = {{}, 0, CUBLAS_STATUS_SUCCESS, 1.0f};
  std::copy_n(promised->alignment, 4, results[0].algo.alignment);
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

namespace {

void multiply(FiberMatmul desc, float scale, float keep, const void* a, const FiberLayout& a_layout, const void* b,
              const FiberLayout& b_layout, const void* c, const FiberLayout& c_layout, void* d,
              const FiberLayout& d_layout) {
  const vpref::fiber::DeviceAccess access;
  int64_t m, k, k_of_b, n;
  const std::vector<float> left = read(a, a_layout, desc.a, m, k), right = read(b, b_layout, desc.b, k_of_b, n);
  std::vector<float> column(static_cast<size_t>(m));
  for (int64_t j = 0; j < n; ++j) {
    std::fill(column.begin(), column.end(), 0.0f);
    for (int64_t p = 0; p < k; ++p) {
      const float factor = right[size_t(j * k + p)];
      const float* from = &left[size_t(p * m)];
      for (int64_t i = 0; i < m; ++i) column[size_t(i)] += factor * from[i];
    }
    for (int64_t i = 0; i < m; ++i) {
      const float old =
          keep == 0.0f ? 0.0f : keep * get(c, c_layout.type, j * c_layout.ld + i);  // beta 0 does not read
      const float bias = desc.epilogue == CUBLASLT_EPILOGUE_BIAS ? get(desc.bias, d_layout.type, i) : 0.0f;
      put(d, d_layout.type, j * d_layout.ld + i, scale * column[size_t(i)] + old + bias);
    }
  }
}

}  // namespace

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  // The algorithm relies on the alignment promised at its selection; on a GPU this would be a misaligned access.
  const void* operands[] = {a, b, c, d};
  for (int i = 0; i < 4; ++i)
    if (reinterpret_cast<uintptr_t>(operands[i]) % algo->alignment[i] != 0) return CUBLAS_STATUS_INVALID_VALUE;
  const auto rows = [](const FiberLayout& l, cublasOperation_t op) { return op == CUBLAS_OP_N ? l.rows : l.cols; };
  const auto cols = [](const FiberLayout& l, cublasOperation_t op) { return op == CUBLAS_OP_N ? l.cols : l.rows; };
  if (cols(*a_layout, desc->a) != rows(*b_layout, desc->b) || rows(*a_layout, desc->a) != d_layout->rows ||
      cols(*b_layout, desc->b) != d_layout->cols) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  // Here the factors are read before the result is written; on a GPU some blocks write while others read.
  vpref::check(!overlap(d, *d_layout, a, *a_layout) && !overlap(d, *d_layout, b, *b_layout), "device",
               "fiber: a product whose result overlaps a factor");
  // Everything except the matrices is read now, as in the library.
  const auto identity = [&] {
    return vpref::fiber::identity_of("product", *desc, *static_cast<const float*>(alpha),
                                     *static_cast<const float*>(beta), a, *a_layout, b, *b_layout, c, *c_layout, d,
                                     *d_layout, workspace, workspace_bytes);
  };
  vpref::fiber::enqueue([=, desc = *desc, scale = *static_cast<const float*>(alpha),
                         keep = *static_cast<const float*>(beta), la = *a_layout, lb = *b_layout, lc = *c_layout,
                         ld = *d_layout] { multiply(desc, scale, keep, a, la, b, lb, c, lc, d, ld); },
                        stream, identity);
  return CUBLAS_STATUS_SUCCESS;
}
