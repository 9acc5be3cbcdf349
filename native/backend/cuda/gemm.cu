// SPDX-License-Identifier: Apache-2.0
// Matrix products: skinny ones by our kernel (gemm_skinny.cuh), all others by cuBLASLt, whose algorithm is chosen once
// per shape and kept.
#include "ops/gemm.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <tuple>

#include "backend/cuda/gemm_paths.h"
#include "backend/cuda/gemm_skinny.cuh"
#include "backend/cuda/groups.cuh"
#include "core/arena.h"
#include "ops/elementwise.h"

#define VPREF_CUBLAS_CHECK(call)                                                              \
  do {                                                                                        \
    const cublasStatus_t status_ = (call);                                                    \
    ::vpref::check(status_ == CUBLAS_STATUS_SUCCESS, "device", __FILE__, ":", __LINE__, ": ", \
                   cublasLtGetStatusString(status_));                                         \
  } while (0)

namespace vpref::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t(64) << 20;  // the maximum that Hopper's kernels need
constexpr size_t kMaxProducts = 4096;                 // packed batches have a new number of rows at almost every step

cudaDataType_t type_of(DType t) {
  switch (t) {
    case DType::f32:
      return CUDA_R_32F;
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::f16:
      return CUDA_R_16F;
    default:
      throw Error("dtype", cat("[gemm] device cuda: no kernel for ", dtype_name(t)));
  }
}

// A product for cuBLASLt, which is column-major: the row-major c = a b is c^T = b^T a^T.
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

// Promised alignment of an address. An algorithm may read that many bytes at a time; no algorithm needs more than 16.
uint32_t alignment(const void* p) { return 1u << std::min(4, __builtin_ctzll(reinterpret_cast<uintptr_t>(p) | 16)); }

using Key = std::tuple<DType, DType, bool, bool, bool, std::array<int64_t, 6>, std::array<uint32_t, 3>>;

// Only one compute thread uses the device, so this thread_local is a singleton.
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
  VPREF_CUBLAS_CHECK(
      cublasLtMatrixLayoutCreate(&l, type_of(t.dtype), uint64_t(t.dim(1)), uint64_t(t.dim(0)), t.stride[0]));
  return l;
}

template <class T>
void set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  VPREF_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof value));
}

// Restricts the choice of algorithms: split products keep f32 partial sums (the output's type would round them to bf16)
// and add them in a fixed order, so that equal products give equal bytes.
cublasLtMatmulPreference_t preference(const std::array<uint32_t, 3>& alignments) {
  cublasLtMatmulPreference_t p;
  VPREF_CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&p));
  const auto put = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    VPREF_CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(p, attribute, &value, sizeof value));
  };
  put(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t(kWorkspaceBytes));
  put(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      uint32_t(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  put(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignments[1]);
  put(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignments[0]);
  put(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignments[2]);
  put(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignments[2]);
  return p;
}

std::unique_ptr<Product> plan(Library& lib, const GemmOperand& a, const GemmOperand& b, const Tensor& c,
                              const Tensor* bias, const std::array<uint32_t, 3>& alignments) {
  auto p = std::make_unique<Product>();
  VPREF_CUBLAS_CHECK(cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (bias) {
    set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias->data);
  }
  p->a = layout(b.matrix);
  p->b = layout(a.matrix);
  p->c = layout(c);
  const cublasLtMatmulPreference_t wanted = preference(alignments);
  cublasLtMatmulHeuristicResult_t found;
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(lib.handle, p->desc, p->a, p->b, p->c, p->c, wanted, 1, &found, &count);
  cublasLtMatmulPreferenceDestroy(wanted);
  check(status == CUBLAS_STATUS_SUCCESS && count == 1, "device", "[gemm] device cuda: cuBLASLt has no algorithm for ",
        a.matrix, " x ", b.matrix, " to ", c, ": ", cublasLtGetStatusString(status));
  p->algo = found.algo;
  return p;
}

// c = alpha a b + beta c (+ bias, of c's dtype, on every row).
void multiply(Context& ctx, const GemmOperand& left, const GemmOperand& right, const Tensor* bias, const Tensor& c,
              float alpha, float beta) {
  Library& lib = library();
  const Tensor &a = left.matrix, &b = right.matrix;
  const std::array<uint32_t, 3> alignments{alignment(a.data), alignment(b.data), alignment(c.data)};
  const std::array<int64_t, 6> shape{c.dim(0), c.dim(1), left.cols(), a.stride[0], b.stride[0], c.stride[0]};
  const Key key{a.dtype, c.dtype, left.transposed, right.transposed, bias != nullptr, shape, alignments};
  if (lib.products.size() >= kMaxProducts) lib.products.clear();
  std::unique_ptr<Product>& p = lib.products[key];
  if (!p) p = plan(lib, left, right, c, bias, alignments);
  if (bias) set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias->data);
  VPREF_CUBLAS_CHECK(cublasLtMatmul(lib.handle, p->desc, &alpha, b.data, p->a, a.data, p->b, &beta, c.data, p->c,
                                    c.data, p->c, &p->algo, lib.workspace.data(), kWorkspaceBytes, stream_of(ctx)));
}

// y = alpha x w^T + beta y (+ bias).
template <class Y>
SkinnyProduct<Y> skinny_product(const Tensor& x, const Tensor& w, const Tensor* bias, const Tensor& y, float alpha,
                                float beta) {
  SkinnyProduct<Y> p;
  p.x = x.as<__nv_bfloat16>(), p.w = w.as<__nv_bfloat16>(), p.y = y.as<Y>();
  p.bias = bias ? bias->data : nullptr, p.bias_type = bias ? bias->dtype : y.dtype;
  p.x_stride = x.stride[0], p.w_stride = w.stride[0], p.y_stride = y.stride[0];
  p.n = w.dim(0), p.k = int(w.dim(1)), p.rows = int(x.dim(0));
  p.alpha = alpha, p.beta = beta;
  return p;
}

template <class Y, class B>
struct AddBias {
  Y* y;
  const B* bias;
  int64_t stride;
  bool wide;
  __device__ void operator()(int64_t row, int64_t col, int64_t count) const {
    float v[kGroup], b[kGroup];
    load_group(y + row * stride + col, count, wide, v);
    load_group(bias + col, count, wide, b);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) v[i] += b[i];
    store_group(y + row * stride + col, count, wide, v);
  }
};

template <class X>
struct Element {
  const X* x;
  int64_t stride;
  __device__ float operator()(int64_t row, int64_t c) const { return load_f32(x + row * stride + c); }
};

// The weight in the activations' dtype: itself, or a copy in the workspace.
Tensor weight_as(Context& ctx, const Tensor& weight, DType dtype) {
  if (weight.dtype == dtype) return weight;
  const Tensor copy(ctx.workspace.get(size_t(weight.numel()) * dtype_size(dtype)), dtype,
                    {weight.dim(0), weight.dim(1)});
  cuda::convert(ctx, weight, copy);
  return copy;
}

}  // namespace

bool takes_skinny(const GemmOperand& left, const GemmOperand& right) {
  const Tensor &a = left.matrix, &b = right.matrix;
  return !left.transposed && right.transposed && a.dim(0) <= kSkinnyRows && a.dtype == DType::bf16 &&
         b.dtype == DType::bf16 && a.dim(1) > 0 && a.dim(1) <= kSkinnyMaxK && a.dim(1) % kGroup == 0 &&
         all_wide_rows(a, b);
}

void gemm_cublaslt(Context& ctx, const GemmOperand& a, const GemmOperand& b, const Tensor& c, float alpha, float beta) {
  multiply(ctx, a, b, nullptr, c, alpha, beta);
}

void gemm(Context& ctx, const GemmOperand& a, const GemmOperand& b, const Tensor& c, float alpha, float beta) {
  if (!takes_skinny(a, b)) return multiply(ctx, a, b, nullptr, c, alpha, beta);
  with_activation_type("gemm", c.dtype, [&](auto* t) {
    using Y = std::remove_pointer_t<decltype(t)>;
    multiply_skinny(ctx, skinny_product<Y>(a.matrix, b.matrix, nullptr, c, alpha, beta), /*dependent=*/false);
  });
}

void linear(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y, float beta) {
  const Tensor w = weight_as(ctx, weight, x.dtype);
  if (takes_skinny(x, transposed(w)))
    return with_activation_type("linear", y.dtype, [&](auto* t) {
      using Y = std::remove_pointer_t<decltype(t)>;
      // dependent: the previous launch does not write w
      multiply_skinny(ctx, skinny_product<Y>(x, w, bias, y, 1.0f, beta), /*dependent=*/w.data == weight.data);
    });
  const bool fused = bias && bias->dtype == y.dtype && alignment(bias->data) == 16;
  multiply(ctx, x, transposed(w), fused ? bias : nullptr, y, 1.0f, beta);
  if (!bias || fused) return;
  with_float_type("linear", y.dtype, [&](auto* yt) {
    with_float_type("linear", bias->dtype, [&](auto* bt) {
      using Y = std::remove_pointer_t<decltype(yt)>;
      using B = std::remove_pointer_t<decltype(bt)>;
      for_groups(ctx, y.dim(0), y.dim(1),
                 AddBias<Y, B>{y.as<Y>(), bias->as<B>(), y.stride[0], all_wide_rows(y, *bias)});
    });
  });
}

void linear_backward_input(Context& ctx, const Tensor& dy, const Tensor& weight, const Tensor& dx, float beta) {
  cuda::gemm(ctx, dy, weight_as(ctx, weight, dy.dtype), dx, 1.0f, beta);
}

void linear_backward_weight(Context& ctx, const Tensor& dy, const Tensor& x, const Tensor& dweight, const Tensor* dbias,
                            float alpha) {
  cuda::gemm(ctx, transposed(dy), x, dweight, alpha, 1.0f);
  if (!dbias) return;
  with_float_type("linear_backward_weight", dy.dtype, [&](auto* t) {
    using X = std::remove_pointer_t<decltype(t)>;
    column_sums(ctx, dy.dim(0), dy.dim(1), dbias->as<float>(), alpha, Element<X>{dy.as<X>(), dy.stride[0]});
  });
}

}  // namespace vpref::cuda
