// SPDX-License-Identifier: Apache-2.0
// Splits work over the OpenMP pool. The ranges depend only on counts, never on timing.
#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "core/context.h"
#include "core/tensor.h"

namespace vpref::cpu {

// Waking the pool takes a few microseconds, so work below this many elements stays on the calling thread.
constexpr int64_t kSerialElements = 16384;

inline int threads_for(const Context& ctx, int64_t items, int64_t elements_per_item) {
  if (items <= 1 || items * std::max<int64_t>(elements_per_item, 1) <= kSerialElements) return 1;
  return int(std::min<int64_t>(std::max(ctx.num_threads, 1), items));
}

// body(thread, begin, end): one contiguous part of [0, items) per thread; its ends are multiples of `grain`. body must
// not throw.
template <class Body>
void parallel_ranges(int threads, int64_t items, int64_t grain, Body body) {
  if (threads <= 1) return body(0, int64_t(0), items);
  const int64_t grains = (items + grain - 1) / grain;
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num(), count = omp_get_num_threads();
    const int64_t begin = grains * thread / count * grain;
    const int64_t end = std::min(items, grains * (thread + 1) / count * grain);
    if (begin < end) body(thread, begin, end);
  }
}

// body(thread, item) for every item, assigned dynamically: for items of unequal cost that write disjoint memory.
template <class Body>
void parallel_items(int threads, int64_t items, Body body) {
  if (threads <= 1) {
    for (int64_t i = 0; i < items; ++i) body(0, i);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t i = 0; i < items; ++i) body(omp_get_thread_num(), i);
}

}  // namespace vpref::cpu
