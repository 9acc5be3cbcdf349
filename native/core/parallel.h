// SPDX-License-Identifier: Apache-2.0
// The compute threads. Work is cut into parts that depend only on counts, never on timing; which thread runs a part is
// open, so nothing may depend on it.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>

namespace vpref {

// Calls body(state, part) once for each part in [0, count), on this thread and up to count - 1 others of the pool, and
// returns when all are done. The others wait for the next call for some microseconds before they sleep, unless they
// hold up this thread. This thread runs the parts that no other has begun, so a busy machine costs no waiting. Calls
// from within a part, or while another thread's call runs, run all parts here. body must not throw.
void run_parts(int count, void (*body)(void* state, int part), void* state);

// body(part, begin, end): `threads` contiguous parts of [0, items); their ends are multiples of `grain`.
template <class Body>
void parallel_ranges(int threads, int64_t items, int64_t grain, Body body) {
  if (threads <= 1) return body(0, int64_t(0), items);
  struct Call {
    Body& body;
    int64_t items, grain, grains;
    int threads;
  } call{body, items, grain, (items + grain - 1) / grain, threads};
  run_parts(
      threads,
      [](void* state, int part) {
        const Call& c = *static_cast<const Call*>(state);
        const int64_t begin = c.grains * part / c.threads * c.grain;
        const int64_t end = std::min(c.items, c.grains * (part + 1) / c.threads * c.grain);
        if (begin < end) c.body(part, begin, end);
      },
      &call);
}

// body(slot, item) for every item, assigned dynamically: for items of unequal cost that write disjoint memory. No two
// items of a slot in [0, threads) run at the same time.
template <class Body>
void parallel_items(int threads, int64_t items, Body body) {
  if (threads <= 1) {
    for (int64_t i = 0; i < items; ++i) body(0, i);
    return;
  }
  struct Call {
    Body& body;
    int64_t items;
    std::atomic<int64_t> next{0};
  } call{body, items};
  run_parts(
      threads,
      [](void* state, int part) {
        Call& c = *static_cast<Call*>(state);
        for (int64_t i; (i = c.next.fetch_add(1, std::memory_order_relaxed)) < c.items;) c.body(part, i);
      },
      &call);
}

}  // namespace vpref
