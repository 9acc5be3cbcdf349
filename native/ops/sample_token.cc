// SPDX-License-Identifier: Apache-2.0
#include "ops/sample_token.h"

#include <cstring>

#include "ops/check.h"

namespace vpref {

void check_sample_settings(const SampleParams& params, const char* code) {
  const auto expect = [code](const char* name, double value, SettingRange range) {
    // Not check(): it would make the texts of the range for every row of every step.
    if (value >= range.min && value > range.above && value <= range.max) return;
    throw Error(code, cat(name, ": expected a number ",
                          range.above >= range.min ? cat("above ", range.above) : cat("of at least ", range.min),
                          range.max < SettingRange{}.max ? cat(" and at most ", range.max) : "", ", got ", value));
  };
#define VPREF_SAMPLE_CHECK(TYPE, NAME, DEFAULT, ...) expect(#NAME, double(params.NAME), __VA_ARGS__);
  VPREF_SAMPLE_SETTINGS(VPREF_SAMPLE_CHECK)
#undef VPREF_SAMPLE_CHECK
}

std::vector<int32_t> sample_words(const std::vector<SampleParams>& params) {
  std::vector<int32_t> words(params.size() * size_t(kSampleWords));
  for (size_t i = 0; i < params.size(); ++i) {
    check_sample_settings(params[i], "config");
    std::memcpy(&words[i * size_t(kSampleWords)], &params[i], sizeof(SampleParams));
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
  check(logits.dim(1) > 0, "shape", "[", op, "] logits: expected at least one token, got ", logits);
  VPREF_DISPATCH(ctx, sample_token, logits, params, token, logp);
}

}  // namespace vpref
