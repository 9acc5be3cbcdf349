// SPDX-License-Identifier: Apache-2.0
// Beam search as transformers' generate does it by default (length_penalty 1, early_stopping false).
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace vpref {

class BeamSearch {
 public:
  struct Hypothesis {
    std::vector<int32_t> tokens;
    std::vector<float> logps;  // of each token
    float score = 0;           // running: the sum; finished: sum / length
    bool finished = false;
  };
  // ends: whether this token sequence ends here (end token, stop string). max_new_tokens ends every sequence.
  // num_end_tokens widens the candidate list, so that live beams remain when others end.
  BeamSearch(int32_t num_beams, int32_t num_end_tokens, int32_t max_new_tokens,
             std::function<bool(const std::vector<int32_t>&)> ends);

  // One step from the logits of the running beams: [rows][vocab] f32, one row in the first step, num_beams afterwards.
  void advance(const float* logits, int32_t vocab);
  bool done() const { return done_; }
  // After advance(): the beam that each running beam continues.
  const std::vector<int32_t>& parents() const { return parents_; }
  const std::vector<Hypothesis>& running() const { return running_; }
  // The best finished sequence; only when done.
  const Hypothesis& best() const { return finished_.front(); }

 private:
  struct Candidate {
    float score;
    int32_t beam, token;
    float logp;
  };
  std::vector<Candidate> top_candidates(const float* logits, int32_t vocab) const;

  int32_t num_beams_, num_candidates_, max_new_tokens_;
  std::function<bool(const std::vector<int32_t>&)> ends_;
  std::vector<Hypothesis> running_, finished_;
  std::vector<int32_t> parents_;
  bool can_improve_ = true, done_ = false;
};

}  // namespace vpref
