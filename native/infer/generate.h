// SPDX-License-Identifier: Apache-2.0
// Continuous batching: requests are admitted while the cache has room, prefilled together, and all their unfinished
// branches decode in one step.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "infer/beam.h"
#include "infer/forward.h"
#include "infer/request.h"
#include "infer/stop.h"

namespace vpref {

// Rows of a request's prompt. Throws Error{"request"} if ids and images disagree. entries: rows of its images, for
// keys; empty if no keys are needed.
SegmentRows prompt_rows(const ModelConfig& config, const GenerateRequest& request,
                        std::span<const std::shared_ptr<ImageRows>> entries);

// Throws Error{"request"} for a prompt or a setting out of range. num_token_bytes: tokens whose bytes are known.
void check_generate_request(const ModelConfig& config, size_t num_token_bytes, const GenerateRequest& request);

class Generator {
 public:
  struct Options {
    int64_t batch_tokens;
    int64_t kv_tokens;
    int32_t max_branches;  // decoding at once
    const std::vector<std::string>* token_bytes;
  };
  Generator(Context& ctx, const Model& model, Forward& forward, ImageCache& images, Options options);

  // Takes the request if there is room for it; there always is for one request alone. Otherwise returns false and
  // leaves the request as it is.
  bool admit(uint64_t id, GenerateRequest& request, GenerateDone& done);
  bool idle() const { return groups_.empty(); }
  // Prefills the requests admitted since the last step and samples their first tokens; if there are none, decodes one
  // token of every branch. Finished requests call back.
  void step();
  bool cancel(uint64_t id);
  void fail_all(const Error& error);
  // Frees the kept prefixes, because the weights have changed or memory is needed.
  void forget();

  const KvCache* kv_cache() const { return kv_cache_.get(); }
  int64_t rows_prefilled() const { return rows_prefilled_; }
  int64_t rows_shared() const { return rows_shared_; }

 private:
  // Leading rows of a block that a prompt uses.
  struct PrefixBlock {
    std::shared_ptr<KvCache::Block> block;
    int32_t count;
  };
  struct Prompt {
    SegmentRows rows;
    std::vector<std::shared_ptr<ImageRows>> images;
    std::vector<PrefixBlock> blocks;  // of its keys and values, in order
    KvRanges ranges;                  // the same rows, joined
    int32_t shared = 0;               // leading rows shared with another prompt
    int32_t size() const { return rows.size(); }
  };
  struct Branch {
    uint32_t number;
    std::shared_ptr<KvCache::Block> block;  // rows of all its tokens except the last
    GeneratedBranch out;
    StopMatcher stop;
    bool finished = false;
    int32_t sampled = -1;  // index of its newest token in the running copy to the host; -1: none
    int32_t length() const { return int32_t(out.token_ids.size()) + (sampled >= 0 ? 1 : 0); }
  };
  struct SequenceGroup {
    uint64_t id;
    GenerateRequest request;
    GenerateDone done;
    std::shared_ptr<Prompt> prompt;
    std::vector<Branch> branches;  // of a beam search: its beams
    std::optional<BeamSearch> beam;
    int32_t max_new_tokens;  // limited by the model's positions
    std::vector<int32_t> eos;
    bool prefilled = false;
  };

  // Prompts of a step as paths of its plan. Prompts share blocks of the cache; each block follows one other.
  class PromptPaths {
   public:
    explicit PromptPaths(AttentionPlan& plan) : paths_(plan.paths) {}
    int32_t of(const Prompt& prompt);

   private:
    std::vector<KeyPath>& paths_;
    std::unordered_map<const KvCache::Block*, int32_t> of_block_;
  };

  bool place_prompt(Prompt& prompt, int32_t branch_rows, int32_t num_blocks,
                    std::vector<std::shared_ptr<KvCache::Block>>& blocks);
  std::shared_ptr<KvCache::Block> take(int32_t count);
  void make_kv_cache(int64_t rows);
  void prefill(const std::vector<SequenceGroup*>& groups);
  void first_tokens(const std::vector<SequenceGroup*>& ready, const Tensor& residual);
  void decode();
  void collect_tokens();
  void advance_beams(SequenceGroup& group, const Tensor& residual, int64_t first_row, int64_t num_rows);
  void append_token(SequenceGroup& group, Branch& branch, int32_t token, float logp);
  void finish(SequenceGroup& group);
  void collect_finished();
  SampleParams sample_params(const SequenceGroup& group, const Branch& branch) const;

  Context& ctx_;
  const Model& model_;
  Forward& forward_;
  ImageCache& images_;
  Options options_;
  std::unique_ptr<KvCache> kv_cache_;
  // Finished prompts, newest first: the next question about the same image starts from one.
  std::deque<std::shared_ptr<Prompt>> recent_;
  std::vector<std::unique_ptr<SequenceGroup>> groups_;
  SampledTokens sampled_[2];  // of the last two decoding steps
  int current_ = 0;           // index of the newer one
  bool waiting_ = false;      // its copy to the host is running
  int64_t rows_prefilled_ = 0, rows_shared_ = 0;
};

}  // namespace vpref
