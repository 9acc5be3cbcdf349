// SPDX-License-Identifier: Apache-2.0
// f32 matrix products by OpenBLAS, if oneDNN is absent.
#include "backend/cpu/matmul.h"

#ifdef VPREF_OPENBLAS
#include <cblas.h>

#include <algorithm>

#include "backend/cpu/parallel.h"
#endif

namespace vpref::cpu {

#ifdef VPREF_OPENBLAS
bool matmul_blas(Context& ctx, const Matmul& p) {
  constexpr int64_t kLargest = 0x7fffffff;
  const bool f32 = p.a_dtype == DType::f32 && p.b_dtype == DType::f32 && p.c_dtype == DType::f32;
  const bool plain = (p.a_row == 1 || p.a_col == 1) && (p.b_row == 1 || p.b_col == 1);
  if (!f32 || !plain || p.k == 0 || std::max({p.m, p.n, p.k, p.a_row, p.a_col, p.b_row, p.b_col, p.c_row}) > kLargest)
    return false;
  openblas_set_num_threads(std::max(ctx.num_threads, 1));
  const bool a_plain = p.a_col == 1, b_plain = p.b_col == 1;
  const int lda = int(std::max(a_plain ? p.a_row : p.a_col, a_plain ? p.k : p.m));
  const int ldb = int(std::max(b_plain ? p.b_row : p.b_col, b_plain ? p.n : p.k));
  float* c = static_cast<float*>(p.c);
  cblas_sgemm(CblasRowMajor, a_plain ? CblasNoTrans : CblasTrans, b_plain ? CblasNoTrans : CblasTrans, int(p.m),
              int(p.n), int(p.k), p.alpha, static_cast<const float*>(p.a), lda, static_cast<const float*>(p.b), ldb,
              p.beta, c, int(std::max(p.c_row, p.n)));
  return true;
}
#else
bool matmul_blas(Context&, const Matmul&) { return false; }
#endif

}  // namespace vpref::cpu
