// SPDX-License-Identifier: Apache-2.0
// Lists of key/value rows, in the order in which queries read them.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace vpref {

// Rows [begin, begin + count) of k and v.
struct KvRange {
  int32_t begin;
  int32_t count;
};

using KvRanges = std::vector<KvRange>;

// Appends a range; adjacent ranges are merged.
inline void append(KvRanges& keys, KvRange r) {
  if (r.count == 0) return;
  if (!keys.empty() && keys.back().begin + keys.back().count == r.begin) {
    keys.back().count += r.count;
  } else {
    keys.push_back(r);
  }
}

inline int32_t count_keys(const KvRanges& keys) {
  int32_t n = 0;
  for (const KvRange& r : keys) n += r.count;
  return n;
}

// Keys [begin, end) of a list.
inline KvRanges cut(const KvRanges& keys, int32_t begin, int32_t end) {
  KvRanges part;
  int32_t before = 0;
  for (const KvRange& r : keys) {
    const int32_t from = std::max(begin - before, 0), to = std::min(end - before, r.count);
    if (from < to) append(part, {r.begin + from, to - from});
    before += r.count;
  }
  return part;
}

}  // namespace vpref
