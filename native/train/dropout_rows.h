// SPDX-License-Identifier: Apache-2.0
// Words that identify a packed row of a step for dropout. They depend only on its record, its place in the record and
// the step, so micro-batches, ranks and a resumed run use the same mask.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace vpref {

// Appends two words for each of the record's `count` rows.
inline void add_dropout_rows(std::string_view id, int64_t step, int64_t count, std::vector<int32_t>& words) {
  uint64_t record = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : id) record = (record ^ uint8_t(c)) * 0x100000001b3u;
  // The finaliser of splitmix64, which is a bijection.
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
