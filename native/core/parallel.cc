// SPDX-License-Identifier: Apache-2.0
#include "core/parallel.h"

#include <sched.h>

#include <chrono>
#include <mutex>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace vpref {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMaxParts = 1024;
constexpr auto kLongestSpin = std::chrono::microseconds(60), kShortestSpin = std::chrono::microseconds(4);

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until done() or the deadline, while may_spin(). Returns done().
template <class Done, class MaySpin>
bool spin(Clock::duration longest, Done done, MaySpin may_spin) {
  if (longest.count() == 0) return done();
  const Clock::time_point deadline = Clock::now() + longest;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      pause();
    }
  } while (may_spin() && Clock::now() < deadline);
  return done();
}

thread_local bool inside = false;  // a part runs on this thread

class Pool {
 public:
  Pool() {
    for (std::atomic<int>& cpu : cpu_) cpu = -1;
  }
  void run(int count, void (*body)(void*, int), void* state);

 private:
  // Which call, how many parts it has, and the next part to begin: changed together, so that a thread that comes late
  // takes no part of a later call for one of its own.
  static uint64_t ticket(uint32_t call, int count, int next) {
    return uint64_t(call) << 32 | uint64_t(count) << 16 | uint64_t(next);
  }
  static uint32_t call_of(uint64_t ticket) { return uint32_t(ticket >> 32); }

  bool run_next();
  void run_part(int part);
  void wait_for_parts(int count);
  void work();
  void wait_for_call(uint32_t seen, Clock::duration& longest);

  std::mutex busy_;  // held by the thread whose call runs
  int num_workers_ = 0;
  void (*body_)(void*, int) = nullptr;
  void* state_ = nullptr;
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int> left_{0};         // parts that are not done
  std::atomic<int> caller_cpu_{-1};  // of the thread whose call runs
  std::atomic<int> sleepers_{0}, wakes_{0};
  std::atomic<int> cpu_[kMaxParts];  // of the thread that runs the part; -1: none
};

// Begins a part that no thread has begun. Returns false if there is none.
bool Pool::run_next() {
  uint64_t t = ticket_.load(std::memory_order_acquire);
  for (;;) {
    const int count = int(t >> 16 & 0xffff), next = int(t & 0xffff);
    if (next >= count) return false;
    if (!ticket_.compare_exchange_weak(t, t + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    run_part(next);
    return true;
  }
}

// The call cannot end before its part does, so what it set is still there.
void Pool::run_part(int part) {
  cpu_[part].store(sched_getcpu(), std::memory_order_relaxed);
  body_(state_, part);
  cpu_[part].store(-1, std::memory_order_relaxed);
  if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_one();
}

void Pool::wait_for_parts(int count) {
  const auto done = [&] { return left_.load(std::memory_order_acquire) == 0; };
  // A part that runs on this processor goes on only if this thread sleeps.
  const auto elsewhere = [&] {
    const int here = sched_getcpu();
    return std::none_of(cpu_, cpu_ + count, [here](const std::atomic<int>& c) { return c.load() == here; });
  };
  if (!done() && elsewhere() && spin(kLongestSpin, done, elsewhere)) return;
  for (int left; (left = left_.load(std::memory_order_acquire)) != 0;) left_.wait(left, std::memory_order_acquire);
}

void Pool::run(int count, void (*body)(void*, int), void* state) {
  std::unique_lock lock(busy_, std::defer_lock);
  if (count <= 1 || count > kMaxParts || inside || !lock.try_lock()) {
    for (int part = 0; part < count; ++part) body(state, part);
    return;
  }
  for (; num_workers_ < count - 1; ++num_workers_) std::thread([this] { work(); }).detach();
  body_ = body;
  state_ = state;
  left_.store(count, std::memory_order_relaxed);
  caller_cpu_.store(sched_getcpu(), std::memory_order_relaxed);
  ticket_.store(ticket(call_of(ticket_.load(std::memory_order_relaxed)) + 1, count, 1));
  if (sleepers_.load() > 0) {
    wakes_.fetch_add(1);
    wakes_.notify_all();
  }
  inside = true;
  run_part(0);
  while (run_next()) {
  }
  inside = false;
  wait_for_parts(count);
}

// longest: how long to spin before sleeping. Halved if no call came in that time, reset if the sleep was short.
void Pool::wait_for_call(uint32_t seen, Clock::duration& longest) {
  const auto called = [&] { return call_of(ticket_.load()) != seen; };
  const auto elsewhere = [&] { return sched_getcpu() != caller_cpu_.load(std::memory_order_relaxed); };
  if (elsewhere() && spin(longest, called, elsewhere)) return;
  if (elsewhere()) longest = longest > kShortestSpin ? longest / 2 : Clock::duration::zero();
  const Clock::time_point begin = Clock::now();
  while (!called()) {
    const int wakes = wakes_.load();
    sleepers_.fetch_add(1);
    if (!called()) wakes_.wait(wakes);
    sleepers_.fetch_sub(1);
  }
  if (elsewhere() && Clock::now() - begin < kLongestSpin) longest = kLongestSpin;
}

void Pool::work() {
  inside = true;
  Clock::duration longest = kLongestSpin;
  for (uint32_t seen = 0;;) {
    wait_for_call(seen, longest);
    seen = call_of(ticket_.load());
    while (run_next()) {
    }
  }
}

}  // namespace

void run_parts(int count, void (*body)(void* state, int part), void* state) {
  static Pool& pool = *new Pool;  // its threads run until the process ends
  pool.run(count, body, state);
}

}  // namespace vpref
