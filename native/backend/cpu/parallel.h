// SPDX-License-Identifier: Apache-2.0
// How many threads a piece of work is worth.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/context.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace vpref::cpu {

// Waking a thread takes tens of microseconds, so work below this many elements stays on the calling thread.
constexpr int64_t kSerialElements = 16384;

inline int threads_for(const Context& ctx, int64_t items, int64_t elements_per_item) {
  if (items <= 1 || items * std::max<int64_t>(elements_per_item, 1) <= kSerialElements) return 1;
  return int(std::min<int64_t>(std::max(ctx.num_threads, 1), items));
}

}  // namespace vpref::cpu
