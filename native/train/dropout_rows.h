// SPDX-License-Identifier: Apache-2.0
// What tells a packed row of a step from all others, for dropout: its record, its place there and the step alone, so
// that micro-batches, ranks and a resumed run draw the same.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace vpref {

// Adds two words for each of the record's `count` rows.
inline void add_dropout_rows(std::string_view id, int64_t step, int64_t count, std::vector<int32_t>& words) {
  uint64_t record = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : id) record = (record ^ uint8_t(c)) * 0x100000001b3u;
  // The finaliser of splitmix64: no two inputs have one output.
  const auto mixed = [](uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  };
  const uint64_t base = mixed(record + 0x9e3779b97f4a7c15u * uint64_t(step));
  for (int64_t row = 0; row < count; ++row) {
    const uint64_t word = mixed(base + uint64_t(row));
    words.push_back(int32_t(uint32_t(word)));
    words.push_back(int32_t(uint32_t(word >> 32)));
  }
}

}  // namespace vpref
