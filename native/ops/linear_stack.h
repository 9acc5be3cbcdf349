// SPDX-License-Identifier: Apache-2.0
// Linear layers that read the same x. Letters as in gemm.h.
#pragma once
#include <span>

#include "core/context.h"
#include "core/packed_weight.h"
#include "core/tensor.h"

namespace vpref {

// y[T,N] = x[T,K] * w[N,K]^T (+ bias[N]).
struct LinearPart {
  const Tensor* weight;        // or null: packed
  const PackedWeight* packed;  // or null
  const Tensor* bias;          // or null
  Tensor y;
};

// Every part as linear() or packed_linear() computes it, with the same bytes. On the CPU x is prepared once for all
// parts, and few rows take one call of the threads; on CUDA the parts run in order. Outputs may not overlap.
void linear_stack(Context& ctx, const Tensor& x, std::span<const LinearPart> parts);
namespace cpu {
void linear_stack(Context& ctx, const Tensor& x, std::span<const LinearPart> parts);
}

}  // namespace vpref
