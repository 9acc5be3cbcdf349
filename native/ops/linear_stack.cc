// SPDX-License-Identifier: Apache-2.0
#include "ops/linear_stack.h"

#include "ops/gemm.h"
#include "ops/packed_linear.h"

namespace vpref {

void linear_stack(Context& ctx, const Tensor& x, std::span<const LinearPart> parts) {
  if (ctx.device != Device::cpu) {
    for (const LinearPart& p : parts)
      p.packed ? packed_linear(ctx, x, *p.packed, p.bias, p.y) : linear(ctx, x, *p.weight, p.bias, p.y);
    return;
  }
  for (const LinearPart& p : parts)
    p.packed ? expect_packed_linear(x, *p.packed, p.bias, p.y) : expect_linear(x, *p.weight, p.bias, p.y);
  if (x.dim(0) > 0 && !ctx.measuring()) cpu::linear_stack(ctx, x, parts);
}

}  // namespace vpref
