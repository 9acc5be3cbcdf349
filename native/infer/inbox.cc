// SPDX-License-Identifier: Apache-2.0
#include "infer/inbox.h"

#include "core/error.h"

namespace vpref {

// Counts a request and returns its id. The caller holds the lock.
uint64_t Inbox::count_new() {
  check(!closed_, "closed", "the engine is closed");
  check(num_pending_ < limit_, "busy", "the engine's queue is full (", limit_, " requests)");
  ++num_pending_;
  return next_id_++;
}

uint64_t Inbox::generate(GenerateRequest request, GenerateDone done) {
  const std::lock_guard lock(mutex_);
  const uint64_t id = count_new();
  to_generate_.push({id, std::move(request), std::move(done)});
  wake_.notify_all();
  return id;
}

uint64_t Inbox::score(ScoreRequest request, ScoreDone done, uint64_t images_key) {
  const std::lock_guard lock(mutex_);
  const uint64_t id = count_new();
  to_score_.push({id, std::move(request), std::move(done), images_key});
  wake_.notify_all();
  return id;
}

uint64_t Inbox::run(Job job, JobDone done) {
  const std::lock_guard lock(mutex_);
  const uint64_t id = count_new();
  jobs_.push({id, std::move(job), std::move(done)});
  wake_.notify_all();
  return id;
}

void Inbox::cancel(uint64_t id) {
  {
    const std::lock_guard lock(mutex_);
    cancelled_.insert(id);
  }
  wake_.notify_all();
}

void Inbox::pace(bool paced) {
  {
    const std::lock_guard lock(mutex_);
    paced_ = paced;
  }
  wake_.notify_all();
}

void Inbox::advance(std::function<void()> paused) {
  {
    const std::lock_guard lock(mutex_);
    paused_.push_back(std::move(paused));
  }
  wake_.notify_all();
}

void Inbox::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  wake_.notify_all();
}

bool Inbox::is_closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

Inbox::Turn Inbox::wait(bool is_generating) {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] {
    if (closed_ || !cancelled_.empty() || !jobs_.empty()) return true;
    if (!paused_.empty() && num_pending_ == 0) return true;
    if (paced_ && paused_.empty()) return false;
    return is_generating || !to_generate_.empty() || !to_score_.empty();
  });
  return {num_ended_, !paced_ || !paused_.empty()};
}

std::optional<GenerateItem> Inbox::pop_generate() {
  const std::lock_guard lock(mutex_);
  if (closed_ || to_generate_.empty()) return std::nullopt;
  return to_generate_.pop();
}

void Inbox::put_back(GenerateItem item) {
  const std::lock_guard lock(mutex_);
  to_generate_.put_back(std::move(item));
}

std::optional<JobItem> Inbox::pop_job() {
  const std::lock_guard lock(mutex_);
  if (closed_ || jobs_.empty()) return std::nullopt;
  return jobs_.pop();
}

std::pair<std::set<uint64_t>, Inbox::All> Inbox::take_cancelled() {
  const std::lock_guard lock(mutex_);
  std::set<uint64_t> ids;
  ids.swap(cancelled_);
  All waiting(to_generate_.take(ids), to_score_.take(ids), jobs_.take(ids));
  return {std::move(ids), std::move(waiting)};
}

Inbox::All Inbox::take_all() {
  const std::lock_guard lock(mutex_);
  cancelled_.clear();
  return All(to_generate_.take_all(), to_score_.take_all(), jobs_.take_all());
}

void Inbox::count_ended() {
  const std::lock_guard lock(mutex_);
  --num_pending_;
  ++num_ended_;
}

void Inbox::pause_if_due(uint64_t num_ended) {
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || num_ended_ != num_ended || num_pending_ == 0) callbacks.swap(paused_);
  }
  for (const auto& paused : callbacks) paused();
}

}  // namespace vpref
