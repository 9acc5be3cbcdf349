// SPDX-License-Identifier: Apache-2.0
// Drawing the next token of each row. The draw depends on (seed, rng_key, branch, position) only, never on the other
// rows.
#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "core/tensor.h"
#include "ops/dispatch.h"

// The settings of a draw, a row each: type and name of the member of SampleParams, its default, its range. To add one:
// its row here, its use in the kernels, and its row of src/records/sampling-settings.ts, which makes the flag; the
// addon reads it by the same name in camel case.
// clang-format off
#define VPREF_SAMPLE_SETTINGS(ROW) \
  ROW(float, temperature, 0, {.min = 0}) \
  ROW(float, top_p, 1, {.above = 0, .max = 1}) \
  ROW(int32_t, top_k, 0, {.min = 0})
// clang-format on

namespace vpref {

// Finite numbers in [min, max] that are larger than `above`.
struct SettingRange {
  double min = std::numeric_limits<double>::lowest();
  double above = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::max();
};

// How one row is drawn. temperature 0 is greedy (the lowest id among equals). top_k 0 and top_p 1 are off; order:
// temperature, top-k, top-p as transformers. The smallest set of tokens whose probability reaches top_p is kept, at
// least one.
struct SampleParams {
#define VPREF_SAMPLE_MEMBER(TYPE, NAME, DEFAULT, ...) TYPE NAME = DEFAULT;
  VPREF_SAMPLE_SETTINGS(VPREF_SAMPLE_MEMBER)
#undef VPREF_SAMPLE_MEMBER
  uint64_t seed = 0;
  uint64_t rng_key = 0;   // hash of the record id and view
  uint32_t branch = 0;    // which of the n samples
  uint32_t position = 0;  // index of the token within the response
};

// Throws an error with this code unless each setting is within its range.
void check_sample_settings(const SampleParams& params, const char* code);

// The parameters of R rows as the words of a [R,kSampleWords] i32 tensor. Throws config unless each is within its
// range.
constexpr int64_t kSampleWords = sizeof(SampleParams) / sizeof(int32_t);
std::vector<int32_t> sample_words(const std::vector<SampleParams>& params);

// token[r] is drawn from logits[r]; logp[r] is its log-probability under the raw logits: full vocabulary,
// temperature 1.
//   logits: [R,V] f32 or bf16 (left as they are); params: [R,kSampleWords] i32, see sample_words(); token: [R] i32;
//   logp: [R] f32.
// The uniform is Philox4x32-10 with key (seed) and counter (position, branch, rng_key low, rng_key high), first word,
// as (x + 0.5) * 2^-32; the token is the first whose cumulative probability, in order of falling probability then
// rising id, exceeds it. Logits that are not finite: the CPU throws nonfinite; a GPU, which no one waits for here,
// gives token -1 and logp NaN.
void sample_token(Context& ctx, const Tensor& logits, const Tensor& params, const Tensor& token, const Tensor& logp);
VPREF_KERNELS(void, sample_token, Context&, const Tensor&, const Tensor&, const Tensor&, const Tensor&)

}  // namespace vpref
