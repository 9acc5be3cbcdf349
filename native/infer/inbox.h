// SPDX-License-Identifier: Apache-2.0
// Requests that wait for the compute thread, and whether it may compute. Any thread may call it. Engine makes some of
// it public.
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
#include "infer/queue.h"
#include "infer/request.h"

namespace vpref {

class Model;

using Job = std::function<void(Context&, Model&)>;
using JobDone = std::function<void(Outcome<std::monostate>)>;

struct JobItem {
  uint64_t id;
  Job job;
  JobDone done;
};

class Inbox {
 public:
  using All = std::tuple<std::deque<GenerateItem>, std::deque<ScoreItem>, std::deque<JobItem>>;

  explicit Inbox(size_t limit) : limit_(limit) {}

  // Each queues a request and returns its id. Throw Error{"busy"} when the queue is full, Error{"closed"} after
  // close().
  uint64_t generate(GenerateRequest request, GenerateDone done);
  uint64_t score(ScoreRequest request, ScoreDone done, uint64_t images_key);
  // `job` will run alone on the compute thread, between steps (training).
  uint64_t run(Job job, JobDone done);
  // The request ends with Error{"cancelled"} before the next step, unless it has finished. A running job is not
  // interrupted.
  void cancel(uint64_t id);
  // Paced, the compute thread computes only during an advance(), which ends when a request ends or none is left;
  // `paused` is called after that request's own callback. Requests queued between two advances form the same batches,
  // whenever they arrive.
  void pace(bool paced);
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
  std::vector<ScoreItem> pop_scores(Fits fits);
  std::optional<JobItem> pop_job();
  // Ids to cancel, and the waiting requests among them.
  std::pair<std::set<uint64_t>, All> take_cancelled();
  All take_all();
  // A request has ended; its callback follows.
  void count_ended();
  // Ends the running advance() if a request has ended since `num_ended`, or none is left.
  void pause_if_due(uint64_t num_ended);

 private:
  uint64_t count_new();

  const size_t limit_;  // requests waiting or running
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Queue<GenerateItem> to_generate_;
  Queue<ScoreItem> to_score_;
  Queue<JobItem> jobs_;
  std::set<uint64_t> cancelled_;
  uint64_t next_id_ = 1;
  size_t num_pending_ = 0;
  uint64_t num_ended_ = 0;
  bool paced_ = false;                         // computes only during an advance()
  std::vector<std::function<void()>> paused_;  // callbacks of the running advance(); empty: none runs
  bool closed_ = false;
};

template <class Fits>
std::vector<ScoreItem> Inbox::pop_scores(Fits fits) {
  const std::lock_guard lock(mutex_);
  std::vector<ScoreItem> items;
  while (!closed_ && !to_score_.empty() && fits(items, to_score_.front())) items.push_back(to_score_.pop());
  return items;
}

}  // namespace vpref
