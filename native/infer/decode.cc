// SPDX-License-Identifier: Apache-2.0
// One token of every unfinished branch in one forward; branches of one prompt stand side by side, so a kernel can read
// their prefix once.
//
// On CUDA the host is one step behind: a step is queued before the tokens of the one before have come, and reads them
// where they were drawn. A branch that turns out to have ended was computed once too often; nothing of that is kept.
#include <algorithm>
#include <utility>

#include "infer/generate.h"

namespace vpref {

namespace {

// Rows of a decoding step on CUDA: few different numbers, so that its launches repeat while branches end. It costs
// nothing: the products of few rows take as long for 5 as for 8, and for 9 as for 16.
size_t step_rows(size_t branches) {
  if (branches <= 2) return branches;
  if (branches <= 4) return 4;
  return branches > 8 && branches <= 16 ? 16 : (branches + 7) / 8 * 8;
}

}  // namespace

void Generator::decode() {
  struct Place {
    Group* group;
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
        const int32_t row = b.region->begin + length - 1;
        seen = g->prompt->ranges;
        append(seen, {b.region->begin, length});
        const int32_t ids[] = {b.drawn >= 0 ? 0 : b.out.token_ids.back()},
                      wanted[] = {0};  // what was drawn is known to the device alone
        step.positions.add(g->prompt->rows.next_position + length - 1);
        step.add_segment(ids, seen, wanted, path);
        step.kv_rows.push_back(row);
        step.drawn_index.push_back(b.drawn);
        places.push_back({g.get(), &b});
      }
    }
  };
  const bool beams = std::any_of(groups_.begin(), groups_.end(), [](const auto& g) { return g->beam.has_value(); });
  if (beams) settle();  // they choose on the host
  StepRows step(model_.config.text.num_position_axes);
  step.plan.is_decode = true;
  std::vector<Place> places;
  gather(step, places);
  if (places.empty()) return settle();
  std::vector<SampleParams> params;
  std::vector<int32_t> rows;
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i].group->beam) continue;
    params.push_back(draw(*places[i].group, *places[i].branch));
    rows.push_back(int32_t(i));
  }
  DrawnTokens& after = drawn_[1 - current_];
  Tensor residual;
  if (beams) {
    const StepOutputs outputs = {.drawn = int64_t(rows.size()), .read = int64_t(places.size())};
    residual = forward_.run(step, kv_cache_.get(), outputs);
    forward_.sample(residual, params, rows, after);
  } else {
    // Rows of no branch see one key, write none, and nobody reads what they draw.
    const KvRange any[] = {{step.plan.ranges.front().begin, 1}};
    const int32_t id[] = {0}, wanted[] = {0}, path = int32_t(step.plan.paths.size());
    step.plan.paths.push_back({-1, 0, 1});
    while (ctx_.device == Device::cuda && step.token_ids.size() < step_rows(places.size())) {
      step.positions.add(0);
      step.add_segment(id, any, wanted, path);
      step.kv_rows.push_back(-1);
      step.drawn_index.push_back(-1);
      params.emplace_back();
    }
    forward_.decode(step, *kv_cache_, params, after);
  }
  settle();  // of the step before
  for (size_t k = 0; k < rows.size(); ++k) {
    Branch& b = *places[size_t(rows[k])].branch;
    if (!b.finished) b.drawn = int32_t(k);
  }
  current_ = 1 - current_;
  waiting_ = true;
  if (ctx_.device == Device::cpu || beams) settle();
  for (size_t i = 0; i < places.size();) {
    Group& g = *places[i].group;
    size_t end = i + 1;
    while (end < places.size() && places[end].group == &g) ++end;
    if (g.beam) advance_beams(g, residual, int64_t(i), int64_t(end - i));
    i = end;
  }
}

// Takes in the tokens that are still on their way.
void Generator::settle() {
  if (!waiting_) return;
  waiting_ = false;
  std::vector<int32_t> tokens;
  std::vector<float> logps;
  forward_.read(drawn_[current_], tokens, logps);
  for (const auto& g : groups_) {
    for (Branch& b : g->branches) {
      if (b.drawn < 0) continue;
      const size_t k = size_t(std::exchange(b.drawn, -1));
      accept(*g, b, tokens[k], logps[k]);
    }
  }
}

// One step of beam search. A beam that is continued once keeps its rows; every further continuation copies them into
// the place of a beam that ended.
void Generator::advance_beams(Group& group, const Tensor& residual, int64_t first_row, int64_t num_rows) {
  const int32_t vocab = model_.config.text.vocab_size;
  std::vector<float> logits;
  forward_.logits(residual, first_row, num_rows, logits);
  group.beam->advance(logits.data(), vocab);
  if (group.beam->done()) return;

  const std::vector<int32_t>& parents = group.beam->parents();
  const std::vector<BeamSearch::Hypothesis>& running = group.beam->running();
  const int32_t written = int32_t(running.front().tokens.size()) - 1;  // rows every old beam has in the cache
  std::vector<std::shared_ptr<KvCache::Region>> old, spare, next(parents.size());
  for (Branch& b : group.branches) old.push_back(std::move(b.region));
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
    if (b.finished) {  // fewer beams may run for a while; the place stays theirs
      b.region = spare.back();
      spare.pop_back();
      continue;
    }
    b.region = next[i];
    b.out.token_ids = running[i].tokens;
  }
}

}  // namespace vpref
