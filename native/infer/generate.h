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
#include "infer/engine.h"
#include "infer/forward.h"
#include "infer/stop.h"

namespace vpref {

using GenerateDone = std::function<void(Outcome<GenerateResult>)>;

// The rows of a request's prompt. Throws Error{"request"} when ids and images disagree. entries: its images', for keys;
// empty where no keys are needed.
SegmentRows prompt_rows(const ModelConfig& config, const GenerateRequest& request,
                        std::span<const std::shared_ptr<ImageRows>> entries);

class Generator {
 public:
  struct Options {
    int64_t batch_tokens;
    int64_t kv_tokens;
    int32_t max_branches;  // decoding at once
    const std::vector<std::string>* token_bytes;
  };
  Generator(Context& ctx, const Model& model, Forward& forward, ImageCache& images, Options options);

  // Takes the request if there is room for it (alone there always is); leaves it untouched and returns false if not.
  bool admit(uint64_t id, GenerateRequest& request, GenerateDone& done);
  bool idle() const { return groups_.empty(); }
  // Prefills what was admitted since the last step and draws its first tokens, else decodes one token of every branch;
  // finished requests call back.
  void step();
  bool cancel(uint64_t id);
  void fail_all(const Error& error);
  // Forgets the kept prefixes (weights changed, or memory is needed).
  void forget();

  const KvCache* kv_cache() const { return kv_cache_.get(); }
  int64_t rows_prefilled() const { return rows_prefilled_; }
  int64_t rows_shared() const { return rows_shared_; }

 private:
  struct Piece {
    std::shared_ptr<KvCache::Region> region;
    int32_t count;
  };
  struct Prompt {
    SegmentRows rows;
    std::vector<std::shared_ptr<ImageRows>> images;
    std::vector<Piece> pieces;  // where its keys and values stand, in order
    KvRanges ranges;            // the same, joined
    int32_t shared = 0;         // leading rows taken from other prompts
    int32_t size() const { return rows.size(); }
  };
  struct Branch {
    uint32_t number;
    std::shared_ptr<KvCache::Region> region;  // rows of its tokens but the last
    GeneratedBranch out;
    StopMatcher stop;
    bool finished = false;
    int32_t drawn = -1;  // index of its newest token among those that are still on their way, or -1
    int32_t length() const { return int32_t(out.token_ids.size()) + (drawn >= 0 ? 1 : 0); }
  };
  struct Group {
    uint64_t id;
    GenerateRequest request;
    GenerateDone done;
    std::shared_ptr<Prompt> prompt;
    std::vector<Branch> branches;  // running beams, when there are beams
    std::optional<BeamSearch> beam;
    int32_t max_new_tokens;  // capped by the positions the model has
    std::vector<int32_t> eos;
    bool prefilled = false;
  };

  // Prompts of a step as paths of its plan: what prompts share are regions of the cache, each of which follows one
  // other.
  class PromptPaths {
   public:
    explicit PromptPaths(AttentionPlan& plan) : paths_(plan.paths) {}
    int32_t of(const Prompt& prompt);

   private:
    std::vector<KeyPath>& paths_;
    std::unordered_map<const KvCache::Region*, int32_t> of_region_;
  };

  bool place_prompt(Prompt& prompt, int32_t branch_rows, int32_t num_regions,
                    std::vector<std::shared_ptr<KvCache::Region>>& regions);
  std::shared_ptr<KvCache::Region> take(int32_t count);
  void make_kv_cache(int64_t rows);
  void prefill(const std::vector<Group*>& groups);
  void first_tokens(const std::vector<Group*>& ready, const Tensor& residual);
  void decode();
  void settle();
  void advance_beams(Group& group, const Tensor& residual, int64_t first_row, int64_t num_rows);
  void accept(Group& group, Branch& branch, int32_t token, float logp);
  void finish(Group& group);
  void collect_finished();
  SampleParams draw(const Group& group, const Branch& branch) const;

  Context& ctx_;
  const Model& model_;
  Forward& forward_;
  ImageCache& images_;
  Options options_;
  std::unique_ptr<KvCache> kv_cache_;
  std::deque<std::shared_ptr<Prompt>>
      recent_;  // finished prompts, newest first: the next question about the same image starts from one
  std::vector<std::unique_ptr<Group>> groups_;
  DrawnTokens drawn_[2];  // of the last two decoding steps
  int current_ = 0;       // the newer one
  bool waiting_ = false;  // its tokens are still on their way
  int64_t rows_prefilled_ = 0, rows_shared_ = 0;
};

}  // namespace vpref
