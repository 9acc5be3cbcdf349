// SPDX-License-Identifier: Apache-2.0
// What the engine is asked for, and what it returns: token ids, images, log-probabilities.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "core/error.h"
#include "input/image.h"
#include "ops/sample_token.h"

namespace vpref {

// Stops a branch that repeats itself: its last tokens are `min_repeats` copies of one pattern of at most `max_period`
// tokens; max_period 0 never stops it.
struct RepetitionCheck {
  int32_t max_period = 0;
  int32_t min_repeats = 8;  // fewer may be a response
};

struct GenerateRequest {
  std::vector<int32_t> prompt;  // ids, the image token once per image row (canonical expanded ids)
  std::vector<Image> images;    // in the order of their runs in the prompt
  int32_t num_samples = 1;      // responses to the prompt
  uint32_t first_sample = 0;    // number of the first: n samples of one request draw the same as n requests of one
  SampleParams sampling;        // of every token; `branch` and `position` are set for each
  int32_t max_new_tokens = 256;
  std::vector<int32_t> eos_token_ids;     // empty: the model's
  std::vector<std::string> stop_strings;  // bytes; matched on the response's bytes, also across tokens
  RepetitionCheck repetition;
  int32_t num_beams = 1;  // > 1: beam search as transformers does it (length penalty 1, early_stopping false); needs
                          // temperature 0 and 1 sample
};

enum class FinishReason : uint8_t { stop, length, repetition };

struct GeneratedBranch {
  std::vector<int32_t> token_ids;      // end token included, if one was sampled
  std::vector<float> per_token_logps;  // raw: full vocabulary, temperature 1
  double logps = 0;                    // their sum
  FinishReason finish_reason = FinishReason::length;
  int32_t stop_string = -1;  // which of stop_strings ended it; -1: an end token or none
};

struct GenerateResult {
  std::vector<GeneratedBranch> branches;
  int32_t num_prompt_tokens = 0;
};

// One node of a scored tree. The parent stands earlier in the list; -1 starts a tree at position 0.
struct ScoreSegment {
  int32_t parent = -1;
  std::vector<int32_t> token_ids;  // ids, the image token once per image row
  std::vector<int32_t> images;     // ScoreRequest::images index of each run of image rows, in order
  bool scored = false;  // a response, whose log-probabilities are wanted: every id is a token, also the image token's
};

// Usually one prompt and its branches; several trees (clean and distorted image) may share one request and one copy of
// an image.
struct ScoreRequest {
  std::vector<ScoreSegment> segments;
  std::vector<Image> images;
};

struct ScoredSegment {
  int32_t segment = 0;
  std::vector<float> per_token_logps;
  double logps = 0;
};

struct ScoreResult {
  std::vector<ScoredSegment> segments;  // the scored ones, in request order
};

// What a callback gets: the result, or why there is none (code "cancelled" after cancel()).
template <class T>
using Outcome = std::variant<T, Error>;
using GenerateDone = std::function<void(Outcome<GenerateResult>)>;
using ScoreDone = std::function<void(Outcome<ScoreResult>)>;

// Requests that wait for the compute thread.
struct GenerateItem {
  uint64_t id;
  GenerateRequest request;
  GenerateDone done;
};

struct ScoreItem {
  uint64_t id;
  ScoreRequest request;
  ScoreDone done;
  uint64_t images_key = 0;  // equal for equal images; 0: not known
};

}  // namespace vpref
