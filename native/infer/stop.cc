// SPDX-License-Identifier: Apache-2.0
#include "infer/stop.h"

#include <algorithm>

namespace vpref {

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::repetition:
      return "repetition";
  }
  return "?";
}

int32_t StopMatcher::feed(int32_t token) {
  if (!stops_ || stops_->empty()) return -1;
  const size_t before = text_.size();
  text_ += (*table_)[size_t(token)];
  int32_t found = -1;
  size_t found_at = std::string::npos;
  for (size_t i = 0; i < stops_->size(); ++i) {
    const std::string& stop = (*stops_)[i];
    const size_t from = before >= stop.size() ? before - stop.size() + 1 : 0;
    const size_t at = text_.find(stop, from);
    if (at < found_at) {
      found_at = at;
      found = int32_t(i);
    }
  }
  return found;
}

bool repeats(std::span<const int32_t> tokens, const RepetitionCheck& check) {
  const size_t copies = size_t(std::max(2, check.min_repeats));
  for (size_t period = 1; period <= size_t(std::max(0, check.max_period)) && period * copies <= tokens.size();
       ++period) {
    const auto tail = tokens.subspan(tokens.size() - period * copies);
    if (std::equal(tail.begin() + std::ptrdiff_t(period), tail.end(), tail.begin())) return true;
  }
  return false;
}

}  // namespace vpref
