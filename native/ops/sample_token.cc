// SPDX-License-Identifier: Apache-2.0
#include "ops/sample_token.h"

#include <cmath>
#include <cstring>

#include "ops/check.h"

namespace vpref {

std::vector<int32_t> sample_words(const std::vector<SampleParams>& params) {
  constexpr const char* op = "sample_token";
  std::vector<int32_t> words(params.size() * size_t(kSampleWords));
  for (size_t i = 0; i < params.size(); ++i) {
    const SampleParams& p = params[i];
    check(p.temperature >= 0.0f && std::isfinite(p.temperature), "config", "[", op,
          "] temperature: expected >= 0, got ", p.temperature);
    check(p.top_p > 0.0f && p.top_p <= 1.0f, "config", "[", op, "] top_p: expected (0, 1], got ", p.top_p);
    check(p.top_k >= 0, "config", "[", op, "] top_k: expected >= 0, got ", p.top_k);
    std::memcpy(&words[i * size_t(kSampleWords)], &p, sizeof p);
  }
  return words;
}

void sample_token(Context& ctx, const Tensor& logits, const Tensor& params, const Tensor& token, const Tensor& logp) {
  constexpr const char* op = "sample_token";
  expect_shape(op, "logits", logits, {-1, -1});
  expect_activation(op, "logits", logits);
  expect_dense_rows(op, "logits", logits);
  expect_shape(op, "params", params, {logits.dim(0), kSampleWords});
  expect_dtype(op, "params", params, {DType::i32});
  check(params.dense() && reinterpret_cast<uintptr_t>(params.data) % alignof(SampleParams) == 0, "shape", "[", op,
        "] params: expected a dense aligned tensor");
  expect_shape(op, "token", token, {logits.dim(0)});
  expect_dtype(op, "token", token, {DType::i32});
  expect_shape(op, "logp", logp, {logits.dim(0)});
  expect_dtype(op, "logp", logp, {DType::f32});
  if (logits.dim(0) == 0) return;
  check(logits.dim(1) > 0, "shape", "[", op, "] logits: expected at least one token, got ", shape_string(logits));
  VPREF_DISPATCH(ctx, sample_token, logits, params, token, logp);
}

}  // namespace vpref
