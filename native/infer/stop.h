// SPDX-License-Identifier: Apache-2.0
// Why a response ends early: stop strings, matched on bytes, and endless repetition.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "infer/request.h"

namespace vpref {

const char* finish_reason_name(FinishReason reason);  // "stop", "length", "repetition"

// Finds stop strings in the bytes of a growing response, also across tokens.
class StopMatcher {
 public:
  StopMatcher() = default;
  StopMatcher(const std::vector<std::string>* stop_strings, const std::vector<std::string>* token_bytes)
      : stops_(stop_strings), table_(token_bytes) {}
  // Appends a token's bytes. Returns the index of the stop string that the response now contains (the first, if
  // several), or -1.
  int32_t feed(int32_t token);

 private:
  const std::vector<std::string>* stops_ = nullptr;
  const std::vector<std::string>* table_ = nullptr;
  std::string text_;
};

// Whether the last tokens are check.min_repeats copies of one pattern of at most check.max_period tokens.
bool repeats(std::span<const int32_t> tokens, const RepetitionCheck& check);

}  // namespace vpref
