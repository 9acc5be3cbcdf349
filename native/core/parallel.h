// SPDX-License-Identifier: Apache-2.0
// The compute threads. Work is cut at places that depend only on counts, never on timing; which thread runs a part, and
// how many pieces at a time, is open, so nothing may depend on it.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

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

// body(begin, end) for all pieces of [0, items). Each thread has a share of `pieces` pieces, and when they are done
// takes the last ones of other shares. For work that reads much memory: threads do not all read at the same speed.
template <class Body>
void parallel_shares(int threads, int64_t items, int64_t pieces, Body body) {
  if (threads <= 1) return body(int64_t(0), items);
  struct alignas(64) Share {
    std::atomic<uint64_t> left{0};  // pieces that no thread has begun: first << 32 | end
  };
  struct Call {
    Body& body;
    int64_t items, pieces;
    std::vector<Share> shares;
    std::atomic<int> begun{1};  // shares; the calling thread begins with the first
    // Of its own share, a thread takes half of what is left: an atomic operation waits for all memory that is on its
    // way.
    bool run_pieces(int share, bool own) {
      std::atomic<uint64_t>& left = shares[size_t(share)].left;
      uint64_t l = left.load(std::memory_order_relaxed);
      int64_t first, count;
      do {
        first = int64_t(l >> 32);
        const int64_t end = int64_t(l & 0xffffffff);
        if (first >= end) return false;
        count = own ? (end - first + 1) / 2 : 1;
        if (!own) first = end - 1;
      } while (!left.compare_exchange_weak(l, own ? l + (uint64_t(count) << 32) : l - 1, std::memory_order_relaxed));
      const int64_t all = int64_t(shares.size()) * pieces, piece = share * pieces + first;
      const int64_t from = items * piece / all, to = items * (piece + count) / all;
      if (from < to) body(from, to);
      return true;
    }
  } call{body, items, pieces, std::vector<Share>(size_t(threads))};
  for (Share& share : call.shares) share.left.store(uint64_t(pieces), std::memory_order_relaxed);
  run_parts(
      threads,
      [](void* state, int part) {
        Call& c = *static_cast<Call*>(state);
        const int shares = int(c.shares.size());
        if (part > 0) c.begun.fetch_add(1, std::memory_order_relaxed);
        for (int i = 0; i < shares; ++i) {
          while (c.run_pieces((part + i) % shares, i == 0)) {
          }
          // Shares that no thread has begun come first, as a whole: on a busy machine a thread that wakes late would
          // take some pieces, and hold up the others when it must leave its processor.
          if (c.begun.load(std::memory_order_relaxed) < shares) return;
        }
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
