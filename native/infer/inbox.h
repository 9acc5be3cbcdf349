// SPDX-License-Identifier: Apache-2.0
// Requests that wait for the compute thread, and whether it may compute. Any thread may call it.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "core/context.h"
#include "core/error.h"
#include "infer/generate.h"
#include "infer/queue.h"
#include "infer/score.h"

namespace vpref {

class Model;

struct GenerateItem {
  uint64_t id;
  GenerateRequest request;
  GenerateDone done;
};

struct JobItem {
  uint64_t id;
  std::function<void(Context&, Model&)> job;
  std::function<void(Outcome<std::monostate>)> done;
};

class Inbox {
 public:
  using All = std::tuple<std::deque<GenerateItem>, std::deque<Scorer::Item>, std::deque<JobItem>>;

  explicit Inbox(size_t limit) : limit_(limit) {}

  // Queues a request and returns its id. Throws Error{"busy" | "closed"}.
  template <class Item>
  uint64_t push(Item item);
  void cancel(uint64_t id);
  void pace(bool paced);
  // `paused` is called when a request has ended since, or none is left.
  void advance(std::function<void()> paused);
  void close();
  bool is_closed() const;

  // The rest is for the compute thread.

  struct Turn {
    uint64_t num_ended;  // requests that have ended so far
    bool computes;       // not only jobs and cancellations
  };
  // Waits until there is work; `is_generating`: also in the generator.
  Turn wait(bool is_generating);
  std::optional<GenerateItem> pop_generate();
  // There was no room for it: it is the next again.
  void put_back(GenerateItem item);
  // The first ones in line, while fits(taken so far, next).
  template <class Fits>
  std::vector<Scorer::Item> pop_scores(Fits fits);
  std::optional<JobItem> pop_job();
  // Ids to cancel, and the waiting requests among them.
  std::pair<std::set<uint64_t>, All> take_cancelled();
  All take_all();
  // A request has ended; its callback follows.
  void count_ended();
  // Ends the running advance() if a request has ended since `num_ended`, or none is left.
  void pause_if_due(uint64_t num_ended);

 private:
  Queue<GenerateItem>& queue_of(const GenerateItem&) { return to_generate_; }
  Queue<Scorer::Item>& queue_of(const Scorer::Item&) { return to_score_; }
  Queue<JobItem>& queue_of(const JobItem&) { return jobs_; }

  const size_t limit_;  // requests waiting or running
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Queue<GenerateItem> to_generate_;
  Queue<Scorer::Item> to_score_;
  Queue<JobItem> jobs_;
  std::set<uint64_t> cancelled_;
  uint64_t next_id_ = 1;
  size_t num_pending_ = 0;
  uint64_t num_ended_ = 0;
  bool paced_ = false;                         // computes only during an advance()
  std::vector<std::function<void()>> paused_;  // callbacks of the running advance(); empty: none runs
  bool closed_ = false;
};

template <class Item>
uint64_t Inbox::push(Item item) {
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    check(!closed_, "closed", "the engine is closed");
    check(num_pending_ < limit_, "busy", "the engine's queue is full (", limit_, " requests)");
    ++num_pending_;
    id = item.id = next_id_++;
    queue_of(item).push(std::move(item));
  }
  wake_.notify_all();
  return id;
}

template <class Fits>
std::vector<Scorer::Item> Inbox::pop_scores(Fits fits) {
  const std::lock_guard lock(mutex_);
  std::vector<Scorer::Item> items;
  while (!closed_ && !to_score_.empty() && fits(items, to_score_.front())) items.push_back(to_score_.pop());
  return items;
}

}  // namespace vpref
