// SPDX-License-Identifier: Apache-2.0
// Matrix products through cuBLASLt: the algorithm is asked for once a shape and kept.
#include "ops/gemm.h"

#include <map>
#include <memory>
#include <tuple>

#include "backend/cuda/launch.cuh"
#include "backend/cuda/vector.cuh"
#include "core/arena.h"

namespace vpref::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t(64) << 20;  // what Hopper's kernels want at most

cudaDataType_t type_of(DType t) {
  switch (t) {
    case DType::f32: return CUDA_R_32F;
    case DType::bf16: return CUDA_R_16BF;
    case DType::f16: return CUDA_R_16F;
    default: throw Error("dtype", cat("[gemm] device cuda: no kernel for ", dtype_name(t)));
  }
}

// A product as cuBLASLt sees it: column-major, so the row-major c = op(a) op(b) is c^T = op(b)^T op(a)^T.
struct Product {
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algo;
  ~Product() {
    if (a) cublasLtMatrixLayoutDestroy(a);
    if (b) cublasLtMatrixLayoutDestroy(b);
    if (c) cublasLtMatrixLayoutDestroy(c);
    if (desc) cublasLtMatmulDescDestroy(desc);
  }
};

using Key = std::tuple<DType, DType, bool, bool, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;

// One compute thread owns the device, so one of these a thread is one in all.
struct Library {
  cublasLtHandle_t handle = nullptr;
  Buffer workspace;
  std::map<Key, std::unique_ptr<Product>> products;
  Library() : workspace(Device::cuda, kWorkspaceBytes) { VPREF_CUBLAS_CHECK(cublasLtCreate(&handle)); }
  ~Library() {
    products.clear();
    if (handle) cublasLtDestroy(handle);
  }
};

Library& library() {
  thread_local Library lib;
  return lib;
}

cublasLtMatrixLayout_t layout(const Tensor& t) {
  cublasLtMatrixLayout_t l;
  VPREF_CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&l, type_of(t.dtype), uint64_t(t.dim(1)), uint64_t(t.dim(0)), t.stride[0]));
  return l;
}

std::unique_ptr<Product> plan(Library& lib, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& c) {
  auto p = std::make_unique<Product>();
  VPREF_CUBLAS_CHECK(cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const cublasOperation_t op_first = transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, op_second = transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  VPREF_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &op_first, sizeof op_first));
  VPREF_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &op_second, sizeof op_second));
  p->a = layout(b);
  p->b = layout(a);
  p->c = layout(c);
  cublasLtMatmulPreference_t preference;
  VPREF_CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
  const size_t limit = kWorkspaceBytes;
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &limit, sizeof limit);
  cublasLtMatmulHeuristicResult_t found;
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(lib.handle, p->desc, p->a, p->b, p->c, p->c, preference, 1, &found, &count);
  cublasLtMatmulPreferenceDestroy(preference);
  VPREF_CUBLAS_CHECK(status);
  check(count == 1, "device", "[gemm] device cuda: cuBLASLt has no algorithm for ", shape_string(a), " x ", shape_string(b));
  p->algo = found.algo;
  return p;
}

template <class Y, class B>
__global__ void add_bias_kernel(Y* y, const B* bias, int64_t rows, int64_t n, int64_t stride) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= rows * n) return;
  Y* at = y + i / n * stride + i % n;
  store_f32(at, load_f32(at) + load_f32(bias + i % n));
}

template <class X, class Y>
__global__ void convert_kernel(const X* x, Y* y, int64_t rows, int64_t n, int64_t stride) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < rows * n) store_f32(y + i, load_f32(x + i / n * stride + i % n));
}

// One thread a column, rows in order: the same sum every time.
template <class X>
__global__ void column_sums_kernel(const X* x, float* sums, float alpha, int64_t rows, int64_t n, int64_t stride) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float sum = 0;
  for (int64_t t = 0; t < rows; ++t) sum += load_f32(x + t * stride + i);
  sums[i] += alpha * sum;
}

unsigned blocks_for(int64_t n) { return unsigned((n + 255) / 256); }

// The weight in the activations' dtype: itself, or a copy in the workspace.
Tensor weight_as(Context& ctx, const Tensor& weight, DType dtype) {
  if (weight.dtype == dtype) return weight;
  const Tensor copy(ctx.workspace.get(size_t(weight.numel()) * dtype_size(dtype)), dtype, {weight.dim(0), weight.dim(1)});
  with_float_type("linear", weight.dtype, [&](auto* from) {
    with_float_type("linear", dtype, [&](auto* to) {
      using X = std::remove_pointer_t<decltype(from)>;
      using Y = std::remove_pointer_t<decltype(to)>;
      launch(convert_kernel<X, Y>, blocks_for(weight.numel()), 256, 0, stream_of(ctx), weight.as<X>(), copy.as<Y>(), weight.dim(0), weight.dim(1), weight.stride[0]);
    });
  });
  return copy;
}

}  // namespace

void gemm(Context& ctx, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& c, float alpha, float beta) {
  Library& lib = library();
  const int64_t k = transpose_a ? a.dim(0) : a.dim(1);
  const Key key{a.dtype, c.dtype, transpose_a, transpose_b, c.dim(0), c.dim(1), k, a.stride[0], b.stride[0], c.stride[0]};
  std::unique_ptr<Product>& p = lib.products[key];
  if (!p) p = plan(lib, a, transpose_a, b, transpose_b, c);
  VPREF_CUBLAS_CHECK(cublasLtMatmul(lib.handle, p->desc, &alpha, b.data, p->a, a.data, p->b, &beta, c.data, p->c, c.data, p->c, &p->algo,
                                    lib.workspace.data(), kWorkspaceBytes, stream_of(ctx)));
}

void linear(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y, float beta) {
  cuda::gemm(ctx, x, false, weight_as(ctx, weight, x.dtype), true, y, 1.0f, beta);
  if (!bias) return;
  with_float_type("linear", y.dtype, [&](auto* yt) {
    with_float_type("linear", bias->dtype, [&](auto* bt) {
      using Y = std::remove_pointer_t<decltype(yt)>;
      using B = std::remove_pointer_t<decltype(bt)>;
      launch(add_bias_kernel<Y, B>, blocks_for(y.numel()), 256, 0, stream_of(ctx), y.as<Y>(), bias->as<B>(), y.dim(0), y.dim(1), y.stride[0]);
    });
  });
}

void linear_backward_input(Context& ctx, const Tensor& dy, const Tensor& weight, const Tensor& dx, float beta) {
  cuda::gemm(ctx, dy, false, weight_as(ctx, weight, dy.dtype), false, dx, 1.0f, beta);
}

void linear_backward_weight(Context& ctx, const Tensor& dy, const Tensor& x, const Tensor& dweight, const Tensor* dbias, float alpha) {
  cuda::gemm(ctx, dy, true, x, false, dweight, alpha, 1.0f);
  if (!dbias) return;
  with_float_type("linear_backward_weight", dy.dtype, [&](auto* t) {
    using X = std::remove_pointer_t<decltype(t)>;
    launch(column_sums_kernel<X>, blocks_for(dy.dim(1)), 256, 0, stream_of(ctx), dy.as<X>(), dbias->as<float>(), alpha, dy.dim(0), dy.dim(1), dy.stride[0]);
  });
}

}  // namespace vpref::cuda
