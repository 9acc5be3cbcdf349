// SPDX-License-Identifier: Apache-2.0
// Admission, end rules and results. The work of a step is in prefill.cc and decode.cc.
#include "infer/generate.h"

#include <algorithm>

namespace vpref {

namespace {

// Enough, because questions about one image follow each other.
constexpr size_t kRecentPrompts = 4;
constexpr int32_t kMinShare = 8;

}  // namespace

SegmentRows prompt_rows(const ModelConfig& config, const GenerateRequest& request,
                        std::span<const std::shared_ptr<ImageRows>> entries) {
  SegmentInput in{.token_ids = request.prompt};
  std::vector<TreeImage> images;
  for (size_t i = 0; i < request.images.size(); ++i) {
    in.images.push_back(int32_t(i));
    images.push_back({layout_of(config, request.images[i]), entries.empty() ? 0 : entries[i]->uid});
  }
  return expand_segment(config, in, images, 0, "prompt");
}

void check_generate_request(const ModelConfig& config, size_t num_token_bytes, const GenerateRequest& r) {
  const int32_t next = prompt_rows(config, r, {}).next_position;
  check(next < config.text.max_position_embeddings, "request", "prompt: expected fewer than ",
        config.text.max_position_embeddings, " positions (max_position_embeddings), got ", next);
  check(r.num_samples >= 1 && r.num_samples <= 4096, "request", "num_samples: expected 1..4096, got ", r.num_samples);
  check(r.max_new_tokens >= 1, "request", "max_new_tokens: expected at least 1, got ", r.max_new_tokens);
  check_sample_settings(r.sampling, "request");
  check(r.num_beams >= 1 && r.num_beams <= 64, "request", "num_beams: expected 1..64, got ", r.num_beams);
  check(r.num_beams == 1 || (r.num_samples == 1 && r.sampling.temperature == 0), "request",
        "num_beams: expected temperature 0 and one branch");
  check(r.stop_strings.empty() || num_token_bytes >= size_t(config.text.vocab_size), "request",
        "stop_strings: expected token_bytes for the whole vocabulary at load");
  for (const std::string& s : r.stop_strings)
    check(!s.empty(), "request", "stop_strings: expected text, got an empty string");
}

Generator::Generator(Context& ctx, const Model& model, Forward& forward, ImageCache& images, Options options)
    : ctx_(ctx),
      model_(model),
      forward_(forward),
      images_(images),
      options_(options),
      sampled_{SampledTokens(model.device()), SampledTokens(model.device())} {}

void Generator::make_kv_cache(int64_t rows) {
  forget();
  kv_cache_.reset();
  kv_cache_ = std::make_unique<KvCache>(model_.config, model_.device(), model_.compute(), rows);
}

void Generator::forget() { recent_.clear(); }

std::shared_ptr<KvCache::Block> Generator::take(int32_t count) {
  // Kept prompts are dropped before new memory is used. A GPU's cache is allocated whole.
  const bool whole = model_.device() != Device::cpu;
  std::shared_ptr<KvCache::Block> block = kv_cache_->take(count, /*may_grow=*/whole || recent_.empty());
  while (!block && !recent_.empty()) {
    recent_.pop_back();
    block = kv_cache_->take(count, /*may_grow=*/whole || recent_.empty());
  }
  return block;
}

// Finds the longest prefix that is in the cache, and takes blocks for the rest and for the branches. Returns false if
// there is no room; then nothing was taken.
bool Generator::place_prompt(Prompt& prompt, int32_t branch_rows, int32_t num_blocks,
                             std::vector<std::shared_ptr<KvCache::Block>>& blocks) {
  prompt.blocks.clear();
  prompt.ranges.clear();
  prompt.shared = 0;
  blocks.clear();
  std::shared_ptr<const Prompt> donor;
  const auto consider = [&](const std::shared_ptr<Prompt>& other) {
    const int32_t common = common_prefix(prompt.rows.keys, other->rows.keys);
    // A few shared tokens are computed again, so that they do not keep a whole prompt in memory.
    if (common > prompt.shared && common >= prompt.size() / kMinShare) {
      prompt.shared = common;
      donor = other;
    }
  };
  for (const auto& g : groups_) consider(g->prompt);
  for (const auto& r : recent_) consider(r);
  prompt.shared = std::min(prompt.shared, prompt.size() - 1);  // the last row is needed for its logits
  if (donor) prompt.ranges = cut(donor->ranges, 0, prompt.shared);
  int32_t left = prompt.shared;
  for (size_t i = 0; left > 0; ++i) {
    const PrefixBlock& shared = donor->blocks[i];
    prompt.blocks.push_back({shared.block, std::min(shared.count, left)});
    left -= prompt.blocks.back().count;
  }
  donor.reset();
  const int32_t own = prompt.size() - prompt.shared;
  bool placed = true;
  const auto take_block = [&](int32_t count) {
    std::shared_ptr<KvCache::Block> block = placed && count > 0 ? take(count) : nullptr;
    placed = placed && (block || count == 0);
    return block;
  };
  if (auto block = take_block(own)) {
    append(prompt.ranges, {block->begin, own});
    prompt.blocks.push_back({std::move(block), own});
  }
  for (int32_t i = 0; i < num_blocks; ++i) blocks.push_back(take_block(branch_rows));
  if (placed) return true;
  prompt.blocks.clear();
  blocks.clear();
  return false;
}

int32_t Generator::PromptPaths::of(const Prompt& prompt) {
  int32_t path = -1, keys = 0;
  for (const auto& [block, count] : prompt.blocks) {
    const auto [at, is_new] = of_block_.try_emplace(block.get(), int32_t(paths_.size()));
    if (is_new) paths_.push_back({path, keys, keys + block->count});
    path = at->second;
    keys += count;
  }
  return path;
}

bool Generator::admit(uint64_t id, GenerateRequest& request, GenerateDone& done) {
  const int32_t num_blocks = std::max(request.num_samples, request.num_beams);
  int32_t active = 0;
  for (const auto& g : groups_) active += int32_t(g->branches.size());
  if (!idle() && active + num_blocks > options_.max_branches) return false;

  auto group = std::make_unique<SequenceGroup>();
  auto prompt = std::make_shared<Prompt>();
  for (const Image& image : request.images) prompt->images.push_back(images_.find(image));
  prompt->rows = prompt_rows(model_.config, request, prompt->images);
  group->max_new_tokens =
      std::min(request.max_new_tokens, model_.config.text.max_position_embeddings - prompt->rows.next_position);
  const int32_t branch_rows = group->max_new_tokens - 1;  // the last token needs no row, because nothing follows it
  const int64_t needed = int64_t(request.prompt.size()) + int64_t(branch_rows) * num_blocks;
  if (!kv_cache_) make_kv_cache(std::max(options_.kv_tokens, needed));

  std::vector<std::shared_ptr<KvCache::Block>> blocks;
  bool placed = place_prompt(*prompt, branch_rows, num_blocks, blocks);
  if (!placed && idle()) {
    forget();
    if (kv_cache_->num_rows() < needed) make_kv_cache(needed);
    placed = place_prompt(*prompt, branch_rows, num_blocks, blocks);
    check(placed, "internal", "a request of ", needed, " rows does not fit an empty KV cache");
  }
  if (!placed) return false;
  group->prompt = std::move(prompt);

  group->id = id;
  group->request = std::move(request);
  group->request.images.clear();  // the cache holds them
  group->done = std::move(done);
  group->eos = group->request.eos_token_ids.empty() ? model_.config.eos_token_ids : group->request.eos_token_ids;
  for (int32_t i = 0; i < num_blocks; ++i) {
    Branch& b = group->branches.emplace_back();
    b.number = group->request.first_sample + uint32_t(i);
    b.block = blocks[size_t(i)];
    b.stop = StopMatcher(&group->request.stop_strings, options_.token_bytes);
  }
  if (group->request.num_beams > 1) {
    const SequenceGroup* g = group.get();
    const auto ends = [g, table = options_.token_bytes](const std::vector<int32_t>& tokens) {
      if (std::find(g->eos.begin(), g->eos.end(), tokens.back()) != g->eos.end()) return true;
      if (g->request.stop_strings.empty()) return false;
      StopMatcher stop(&g->request.stop_strings, table);
      return std::any_of(tokens.begin(), tokens.end(), [&](int32_t t) { return stop.feed(t) >= 0; });
    };
    group->beam.emplace(group->request.num_beams, int32_t(group->eos.size()), group->max_new_tokens, ends);
  }
  groups_.push_back(std::move(group));
  return true;
}

void Generator::step() {
  std::vector<SequenceGroup*> fresh;
  for (const auto& g : groups_) {
    if (!g->prefilled) fresh.push_back(g.get());
  }
  if (fresh.empty()) {
    decode();
  } else {
    collect_tokens();
    prefill(fresh);
  }
  collect_finished();
}

SampleParams Generator::sample_params(const SequenceGroup& g, const Branch& b) const {
  SampleParams params = g.request.sampling;
  params.branch = b.number;
  params.position = uint32_t(b.length());
  return params;
}

void Generator::append_token(SequenceGroup& group, Branch& branch, int32_t token, float logp) {
  GeneratedBranch& out = branch.out;
  check(logp == logp, "nonfinite", "the model's logits are not finite");
  out.token_ids.push_back(token);
  out.per_token_logps.push_back(logp);
  out.logps += double(logp);
  const auto end = [&](FinishReason reason) {
    branch.finished = true;
    branch.block.reset();
    out.finish_reason = reason;
  };
  if (std::find(group.eos.begin(), group.eos.end(), token) != group.eos.end()) return end(FinishReason::stop);
  out.stop_string = branch.stop.feed(token);
  if (out.stop_string >= 0) return end(FinishReason::stop);
  if (repeats(out.token_ids, group.request.repetition)) return end(FinishReason::repetition);
  if (int32_t(out.token_ids.size()) >= group.max_new_tokens) end(FinishReason::length);
}

void Generator::finish(SequenceGroup& group) {
  GenerateResult result;
  result.num_prompt_tokens = group.prompt->size();
  if (group.beam) {
    const BeamSearch::Hypothesis& best = group.beam->best();
    Branch whole;  // gives the finish reason
    whole.number = 0;
    whole.stop = StopMatcher(&group.request.stop_strings, options_.token_bytes);
    for (size_t i = 0; i < best.tokens.size(); ++i) append_token(group, whole, best.tokens[i], best.logps[i]);
    result.branches.push_back(std::move(whole.out));
  } else {
    for (Branch& b : group.branches) result.branches.push_back(std::move(b.out));
  }
  group.branches.clear();
  recent_.push_front(group.prompt);
  if (recent_.size() > kRecentPrompts) recent_.pop_back();
  group.done(std::move(result));
}

void Generator::collect_finished() {
  std::vector<std::unique_ptr<SequenceGroup>> finished;
  for (auto& g : groups_) {
    const bool done =
        g->beam ? g->beam->done()
                : std::all_of(g->branches.begin(), g->branches.end(), [](const Branch& b) { return b.finished; });
    if (done) finished.push_back(std::move(g));
  }
  std::erase_if(groups_, [](const auto& g) { return !g; });
  for (auto& g : finished) finish(*g);
}

bool Generator::cancel(uint64_t id) {
  collect_tokens();
  const auto at = std::find_if(groups_.begin(), groups_.end(), [&](const auto& g) { return g->id == id; });
  if (at == groups_.end()) return false;
  const std::unique_ptr<SequenceGroup> group = std::move(*at);
  groups_.erase(at);
  group->done(Error("cancelled", "the request was cancelled"));
  return true;
}

void Generator::fail_all(const Error& error) {
  std::vector<std::unique_ptr<SequenceGroup>> groups = std::move(groups_);
  groups_.clear();
  waiting_ = false;
  forget();  // a failed step may not have written all rows
  for (auto& g : groups) g->done(error);
}

}  // namespace vpref
