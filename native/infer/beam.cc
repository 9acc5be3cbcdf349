// SPDX-License-Identifier: Apache-2.0
#include "infer/beam.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace vpref {

namespace {

constexpr float kOut = -1.0e9f;  // transformers adds it to a score that must not win

}  // namespace

BeamSearch::BeamSearch(int32_t num_beams, int32_t num_end_tokens, int32_t max_new_tokens,
                       std::function<bool(const std::vector<int32_t>&)> ends)
    : num_beams_(num_beams),
      num_candidates_(std::max(2, 1 + num_end_tokens) * num_beams),
      max_new_tokens_(max_new_tokens),
      ends_(std::move(ends)) {
  running_.resize(1);
  finished_.resize(size_t(num_beams));
  for (Hypothesis& h : finished_) h.score = kOut;
}

std::vector<BeamSearch::Candidate> BeamSearch::top_candidates(const float* logits, int32_t vocab) const {
  const auto better = [](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) return a.score > b.score;
    return a.beam != b.beam ? a.beam < b.beam : a.token < b.token;
  };
  const size_t keep = size_t(num_candidates_);
  std::vector<Candidate> heap;  // the worst kept candidate on top
  for (size_t b = 0; b < running_.size(); ++b) {
    const float* row = logits + b * size_t(vocab);
    const float top = *std::max_element(row, row + vocab);
    double sum = 0;
    for (int32_t v = 0; v < vocab; ++v) sum += std::exp(double(row[v] - top));
    const float log_sum = top + float(std::log(sum));
    for (int32_t v = 0; v < vocab; ++v) {
      const float logp = row[v] - log_sum;
      const Candidate c{running_[b].score + logp, int32_t(b), v, logp};
      if (heap.size() == keep && !better(c, heap.front())) continue;
      heap.push_back(c);
      std::push_heap(heap.begin(), heap.end(), better);
      if (heap.size() <= keep) continue;
      std::pop_heap(heap.begin(), heap.end(), better);
      heap.pop_back();
    }
  }
  std::sort_heap(heap.begin(), heap.end(), better);
  return heap;
}

void BeamSearch::advance(const float* logits, int32_t vocab) {
  const std::vector<Candidate> candidates = top_candidates(logits, vocab);
  check(candidates.size() >= size_t(num_beams_), "request", "num_beams: expected fewer beams for a vocabulary of ",
        vocab);
  const int32_t length = int32_t(running_.front().tokens.size()) + 1;
  std::vector<Hypothesis> next, merged = finished_;
  std::vector<int32_t> parents;
  bool all_ended = true;
  const auto extended = [&](const Candidate& c) {
    Hypothesis h = running_[size_t(c.beam)];
    h.tokens.push_back(c.token);
    h.logps.push_back(c.logp);
    h.score = c.score;
    return h;
  };
  for (size_t i = 0; i < candidates.size(); ++i) {
    Hypothesis h = extended(candidates[i]);
    const bool ended = length >= max_new_tokens_ || ends_(h.tokens);
    all_ended = all_ended && ended;
    if (!ended) {
      if (next.size() < size_t(num_beams_)) {
        parents.push_back(candidates[i].beam);
        next.push_back(std::move(h));
      }
    } else if (i < size_t(num_beams_) && can_improve_) {  // only the best num_beams may finish
      h.score /= float(length);
      h.finished = true;
      merged.push_back(std::move(h));
    }
  }
  std::stable_sort(merged.begin(), merged.end(),
                   [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  merged.resize(size_t(num_beams_));
  finished_ = std::move(merged);

  // Whether a running beam can still beat the worst finished one. A free place can always be won.
  const bool full = std::all_of(finished_.begin(), finished_.end(), [](const Hypothesis& h) { return h.finished; });
  if (full) can_improve_ = can_improve_ && !next.empty() && next.front().score / float(length) > finished_.back().score;
  done_ = all_ended || next.empty() || !can_improve_;
  if (done_) return;
  // If other stop rules end candidates, fewer beams than num_beams run.
  running_ = std::move(next);
  parents_ = std::move(parents);
}

}  // namespace vpref
