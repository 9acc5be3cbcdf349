// SPDX-License-Identifier: Apache-2.0
#include "ops/sample_token.h"

#include <cmath>

#include "ops/check.h"

namespace vpref {

void sample_token(Context& ctx, const Tensor& logits, const std::vector<SampleParams>& params, const Tensor& token,
                  const Tensor& logp) {
  constexpr const char* op = "sample_token";
  expect_shape(op, "logits", logits, {-1, -1});
  expect_activation(op, "logits", logits);
  expect_dense_rows(op, "logits", logits);
  check(int64_t(params.size()) == logits.dim(0), "shape", "[", op, "] params: expected ", logits.dim(0), ", got ", params.size());
  expect_shape(op, "token", token, {logits.dim(0)});
  expect_dtype(op, "token", token, {DType::i32});
  expect_shape(op, "logp", logp, {logits.dim(0)});
  expect_dtype(op, "logp", logp, {DType::f32});
  for (const SampleParams& p : params) {
    check(p.temperature >= 0.0f && std::isfinite(p.temperature), "config", "[", op, "] temperature: expected >= 0, got ", p.temperature);
    check(p.top_p > 0.0f && p.top_p <= 1.0f, "config", "[", op, "] top_p: expected (0, 1], got ", p.top_p);
    check(p.top_k >= 0, "config", "[", op, "] top_k: expected >= 0, got ", p.top_k);
  }
  if (params.empty()) return;
  check(logits.dim(1) > 0, "shape", "[", op, "] logits: expected at least one token, got ", shape_string(logits));
  VPREF_DISPATCH(ctx, sample_token, logits, params, token, logp);
}

}  // namespace vpref
