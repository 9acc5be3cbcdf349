// SPDX-License-Identifier: Apache-2.0
// One product of linear layers, as row_products prepares it.
#pragma once
#include "backend/cpu/kernels.h"
#include "core/context.h"
#include "core/packed_weight.h"
#include "core/tensor.h"

namespace vpref::cpu {

// The weight of a product: one of the two.
struct Weight {
  const Tensor* dense;
  const PackedWeight* packed;
  int64_t rows() const { return packed ? packed->num_rows : dense->dim(0); }
  int64_t cols() const { return packed ? packed->num_cols : dense->dim(1); }
};

// y = alpha x w^T (+ bias) + beta y.
struct Product {
  Weight weight;
  const float* bias;
  Tensor y;
  float alpha, beta;
  int64_t cols() const { return weight.rows(); }
  bool in_place() const { return y.dtype == DType::f32 && beta == 0.0f; }  // y holds the sums
  bool bare() const { return alpha == 1.0f && beta == 0.0f && !bias; }     // y is the sums, unchanged
  bool direct() const { return in_place() && bare(); }
};

// Writes columns [begin, end) of row t of y from their sums.
void finish_sums(const Kernels& k, const Product& p, const float* sums, int64_t t, int64_t begin, int64_t end);

}  // namespace vpref::cpu
