// SPDX-License-Identifier: Apache-2.0
// Covers native/core/parallel.cc
#include "core/parallel.h"

#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace vpref {
namespace {

TEST(ParallelTest, RangesCoverEveryItemOnce) {
  for (const int threads : {1, 2, 3, 7})
    for (const int64_t items : {0, 1, 5, 64, 1000}) {
      std::vector<int> seen(size_t(items) + 1);
      parallel_ranges(threads, items, 4, [&](int part, int64_t begin, int64_t end) {
        EXPECT_TRUE(part >= 0 && part < threads);
        EXPECT_EQ(begin % 4, 0);
        EXPECT_TRUE(end == items || end % 4 == 0);
        for (int64_t i = begin; i < end; ++i) ++seen[size_t(i)];
      });
      EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), items) << threads;
    }
}

TEST(ParallelTest, SharesCoverEveryItemOnce) {
  for (const int threads : {1, 2, 3, 7})
    for (const int64_t items : {0, 1, 5, 64, 1000})
      for (const int64_t pieces : {1, 3, 32}) {
        std::vector<std::atomic<int>> seen(size_t(items) + 1);
        parallel_shares(threads, items, pieces, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) ++seen[size_t(i)];
        });
        EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), items) << threads << ' ' << pieces;
      }
}

// The pieces that begin with item 0 end when all others are done.
TEST(ParallelTest, AThreadThatIsDoneTakesPiecesOfAnotherShare) {
  constexpr int64_t kItems = 32, kPieces = 16;
  std::atomic<int64_t> others{0}, first{0};
  std::atomic<bool> in_time{true};
  parallel_shares(2, kItems, kPieces, [&](int64_t begin, int64_t end) {
    if (begin > 0) {
      others += end - begin;
      return;
    }
    first = end;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (others < kItems - end && in_time) {
      if (std::chrono::steady_clock::now() > deadline) in_time = false;
      std::this_thread::yield();
    }
  });
  EXPECT_TRUE(in_time);
  EXPECT_LE(first, kPieces / 2);  // half of its share
  EXPECT_EQ(others + first, kItems);
}

TEST(ParallelTest, ItemsOfASlotNeverOverlap) {
  for (const int threads : {1, 2, 5}) {
    std::vector<int> seen(500);
    std::vector<std::atomic<int>> running(static_cast<size_t>(threads));
    parallel_items(threads, 500, [&](int slot, int64_t item) {
      EXPECT_EQ(running[size_t(slot)].fetch_add(1), 0);
      ++seen[size_t(item)];
      running[size_t(slot)].fetch_sub(1);
    });
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), 500);
  }
}

// Short calls one after the other: threads come late, and find parts of later calls.
TEST(ParallelTest, ManyShortCallsRunEveryPart) {
  for (int call = 0; call < 20000; ++call) {
    const int threads = 2 + call % 3;
    std::atomic<int> sum{0};
    parallel_ranges(threads, threads, 1, [&, call](int part, int64_t, int64_t) { sum.fetch_add(call + part); });
    ASSERT_EQ(sum.load(), threads * call + threads * (threads - 1) / 2);
    if (call % 4000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // they sleep
  }
}

TEST(ParallelTest, ACallFromWithinAPartRunsThere) {
  std::mutex mutex;
  std::set<std::pair<std::thread::id, std::thread::id>> pairs;
  std::atomic<int> inner{0};
  parallel_ranges(2, 2, 1, [&](int, int64_t, int64_t) {
    const auto outside = std::this_thread::get_id();
    parallel_ranges(3, 3, 1, [&](int, int64_t, int64_t) {
      ++inner;
      const std::lock_guard lock(mutex);
      pairs.insert({outside, std::this_thread::get_id()});
    });
  });
  EXPECT_EQ(inner, 6);
  for (const auto& [outside, within] : pairs) EXPECT_EQ(outside, within);
}

TEST(ParallelTest, CallsOfSeveralThreadsDoNotMix) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      for (int call = 0; call < 2000; ++call) {
        std::vector<int> seen(9);
        parallel_ranges(3, 9, 1, [&](int, int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) seen[size_t(i)] += t + 1;
        });
        wrong += int(std::count(seen.begin(), seen.end(), t + 1) != 9);
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace vpref
