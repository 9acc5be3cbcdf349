// SPDX-License-Identifier: Apache-2.0
#include "ops/log_softmax.h"

#include "ops/check.h"

namespace vpref {

void log_softmax_gather(Context& ctx, const Tensor& logits, const Tensor& target, const Tensor& logp,
                        bool to_gradient) {
  constexpr const char* op = "log_softmax_gather";
  expect_shape(op, "logits", logits, {-1, -1});
  expect_activation(op, "logits", logits);
  expect_dense_rows(op, "logits", logits);
  expect_shape(op, "target", target, {logits.dim(0)});
  expect_dtype(op, "target", target, {DType::i32});
  expect_shape(op, "logp", logp, {logits.dim(0)});
  expect_dtype(op, "logp", logp, {DType::f32});
  if (readable(ctx)) {
    for (int64_t r = 0; r < target.dim(0); ++r) {
      const int32_t id = target.as<int32_t>()[r];
      check(id >= 0 && id < logits.dim(1), "shape", "[", op, "] target[", r, "]: expected [0, ", logits.dim(1),
            "), got ", id);
    }
  }
  if (logits.dim(0) == 0) return;
  VPREF_DISPATCH(ctx, log_softmax_gather, logits, target, logp, to_gradient);
}

}  // namespace vpref
