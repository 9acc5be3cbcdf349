// SPDX-License-Identifier: Apache-2.0
// When a response ends before its length does: stop strings on bytes, and endless repetition.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "infer/engine.h"

namespace vpref {

// Finds stop strings in the bytes of a growing response, also where they cross token borders.
class StopMatcher {
 public:
  StopMatcher() = default;
  StopMatcher(const std::vector<std::string>* stop_strings, const std::vector<std::string>* token_bytes)
      : stops_(stop_strings), table_(token_bytes) {}
  // Appends a token's bytes; the index of the stop string that now stands in the response (the one that starts first),
  // or -1.
  int32_t feed(int32_t token);

 private:
  const std::vector<std::string>* stops_ = nullptr;
  const std::vector<std::string>* table_ = nullptr;
  std::string text_;
};

// Do the last tokens consist of check.min_repeats copies of one pattern of at most check.max_period tokens?
bool repeats(std::span<const int32_t> tokens, const RepetitionCheck& check);

}  // namespace vpref
