// SPDX-License-Identifier: Apache-2.0
// Decodes one token of every unfinished branch in one forward. Branches of one prompt are neighbours, so a kernel reads
// their prefix once.
//
// On CUDA the host is one step behind. It queues a step before the tokens of the previous step have arrived; the step
// reads them on the device. If one of them ended its branch, the branch's new token is dropped.
#include <algorithm>
#include <utility>

#include "infer/generate.h"

namespace vpref {

namespace {

// Rows of a decoding step on CUDA. There are few different numbers, so that captured launches fit while branches end.
// The padding is free: products of 5 rows take as long as of 8, and of 9 as long as of 16.
size_t step_rows(size_t branches) {
  if (branches <= 2) return branches;
  if (branches <= 4) return 4;
  return branches > 8 && branches <= 16 ? 16 : (branches + 7) / 8 * 8;
}

}  // namespace

void Generator::decode() {
  struct Place {
    SequenceGroup* group;
    Branch* branch;
  };
  const auto gather = [&](StepRows& step, std::vector<Place>& places) {
    KvRanges seen;
    PromptPaths paths(step.plan);
    for (const auto& g : groups_) {
      const int32_t path = paths.of(*g->prompt);
      for (Branch& b : g->branches) {
        const int32_t length = b.length();
        if (b.finished || length >= g->max_new_tokens) continue;
        const int32_t row = b.block->begin + length - 1;
        seen = g->prompt->ranges;
        append(seen, {b.block->begin, length});
        // Only the device knows a token that is being copied.
        const int32_t ids[] = {b.sampled >= 0 ? 0 : b.out.token_ids.back()}, wanted[] = {0};
        step.positions.add(g->prompt->rows.next_position + length - 1);
        step.add_segment(ids, seen, wanted, path);
        step.kv_rows.push_back(row);
        step.sampled_index.push_back(b.sampled);
        places.push_back({g.get(), &b});
      }
    }
  };
  const bool beams = std::any_of(groups_.begin(), groups_.end(), [](const auto& g) { return g->beam.has_value(); });
  if (beams) collect_tokens();  // beams are chosen on the host
  StepRows step(model_.config.text.num_position_axes);
  step.plan.is_decode = true;
  std::vector<Place> places;
  gather(step, places);
  if (places.empty()) return collect_tokens();
  std::vector<SampleParams> params;
  std::vector<int32_t> rows;
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i].group->beam) continue;
    params.push_back(sample_params(*places[i].group, *places[i].branch));
    rows.push_back(int32_t(i));
  }
  SampledTokens& after = sampled_[1 - current_];
  Tensor residual;
  if (beams) {
    const StepOutputs outputs = {.sampled = int64_t(rows.size()), .read = int64_t(places.size())};
    residual = forward_.run(step, kv_cache_.get(), outputs);
    forward_.sample(residual, params, rows, after);
  } else {
    // Padding rows attend to one key and write none; their tokens are not read.
    const KvRange any[] = {{step.plan.ranges.front().begin, 1}};
    const int32_t id[] = {0}, wanted[] = {0}, path = int32_t(step.plan.paths.size());
    step.plan.paths.push_back({-1, 0, 1});
    while (ctx_.device == Device::cuda && step.token_ids.size() < step_rows(places.size())) {
      step.positions.add(0);
      step.add_segment(id, any, wanted, path);
      step.kv_rows.push_back(-1);
      step.sampled_index.push_back(-1);
      params.emplace_back();
    }
    forward_.decode(step, *kv_cache_, params, after);
  }
  collect_tokens();  // of the previous step
  for (size_t k = 0; k < rows.size(); ++k) {
    Branch& b = *places[size_t(rows[k])].branch;
    if (!b.finished) b.sampled = int32_t(k);
  }
  current_ = 1 - current_;
  waiting_ = true;
  if (ctx_.device == Device::cpu || beams) collect_tokens();
  for (size_t i = 0; i < places.size();) {
    SequenceGroup& g = *places[i].group;
    size_t end = i + 1;
    while (end < places.size() && places[end].group == &g) ++end;
    if (g.beam) advance_beams(g, residual, int64_t(i), int64_t(end - i));
    i = end;
  }
}

// Waits for the tokens of the last step and appends them.
void Generator::collect_tokens() {
  if (!waiting_) return;
  waiting_ = false;
  std::vector<int32_t> tokens;
  std::vector<float> logps;
  forward_.read(sampled_[current_], tokens, logps);
  for (const auto& g : groups_) {
    for (Branch& b : g->branches) {
      if (b.sampled < 0) continue;
      const size_t k = size_t(std::exchange(b.sampled, -1));
      append_token(*g, b, tokens[k], logps[k]);
    }
  }
}

// One step of beam search. The first continuation of a beam keeps its block; each further one copies the rows into the
// block of a beam that ended.
void Generator::advance_beams(SequenceGroup& group, const Tensor& residual, int64_t first_row, int64_t num_rows) {
  const int32_t vocab = model_.config.text.vocab_size;
  std::vector<float> logits;
  forward_.logits(residual, first_row, num_rows, logits);
  group.beam->advance(logits.data(), vocab);
  if (group.beam->done()) return;

  const std::vector<int32_t>& parents = group.beam->parents();
  const std::vector<BeamSearch::Hypothesis>& running = group.beam->running();
  const int32_t written = int32_t(running.front().tokens.size()) - 1;  // rows in the cache, the same for all beams
  std::vector<std::shared_ptr<KvCache::Block>> old, spare, next(parents.size());
  for (Branch& b : group.branches) old.push_back(std::move(b.block));
  std::vector<int32_t> first_child(old.size(), -1);
  for (size_t i = 0; i < parents.size(); ++i) {
    if (first_child[size_t(parents[i])] >= 0) continue;
    first_child[size_t(parents[i])] = int32_t(i);
    next[i] = old[size_t(parents[i])];
  }
  for (size_t i = 0; i < old.size(); ++i) {
    if (first_child[i] < 0) spare.push_back(old[i]);
  }
  for (size_t i = 0; i < parents.size(); ++i) {
    if (next[i]) continue;
    next[i] = spare.back();
    spare.pop_back();
    if (written > 0) kv_cache_->copy_rows(ctx_, old[size_t(parents[i])]->begin, next[i]->begin, written);
  }
  for (size_t i = 0; i < group.branches.size(); ++i) {
    Branch& b = group.branches[i];
    b.finished = i >= parents.size();
    if (b.finished) {  // fewer beams run for now; the block stays theirs
      b.block = spare.back();
      spare.pop_back();
      continue;
    }
    b.block = next[i];
    b.out.token_ids = running[i].tokens;
  }
}

}  // namespace vpref
