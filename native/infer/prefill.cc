// SPDX-License-Identifier: Apache-2.0
// Prefills prompts into the cache, packed. Rows that another prompt has written are skipped; a long prompt is cut into
// steps of batch_tokens rows.
#include <algorithm>

#include "infer/generate.h"

namespace vpref {

void Generator::prefill(const std::vector<SequenceGroup*>& groups) {
  std::vector<std::shared_ptr<ImageRows>> images;
  for (const SequenceGroup* g : groups) {
    for (const ImagePiece& p : g->prompt->rows.images) {
      if (p.row + p.count > g->prompt->shared) images.push_back(g->prompt->images[size_t(p.image)]);
    }
  }
  images_.encode(ctx_, images);

  size_t next = 0;
  int32_t done = groups.empty() ? 0 : groups[0]->prompt->shared;  // rows of groups[next] that are in the cache
  while (next < groups.size()) {
    StepRows step(model_.config.text.num_position_axes);
    PromptPaths paths(step.plan);
    std::vector<SequenceGroup*> ready;
    while (next < groups.size() && step.num_rows() < options_.batch_tokens) {
      const Prompt& p = *groups[next]->prompt;
      const int32_t room = int32_t(options_.batch_tokens - step.num_rows()), count = std::min(p.size() - done, room);
      const bool whole = done + count == p.size();
      const int32_t last[] = {count - 1};
      const int32_t at = int32_t(step.num_rows()), kv_begin = p.blocks.back().block->begin - p.shared;
      step.positions.add(p.rows.positions, done, count);
      step.add_segment(std::span(p.rows.token_ids).subspan(size_t(done), size_t(count)), cut(p.ranges, 0, done + count),
                       std::span(last, whole ? 1 : 0), paths.of(p));
      for (int32_t i = 0; i < count; ++i) step.kv_rows.push_back(kv_begin + done + i);
      for (const ImagePiece& piece : cut(p.rows.images, done, count, at))
        step.images.push_back({piece, p.images[size_t(piece.image)].get()});
      rows_prefilled_ += count;
      done += count;
      if (!whole) continue;
      rows_shared_ += p.shared;
      ready.push_back(groups[next]);
      if (++next < groups.size()) done = groups[next]->prompt->shared;
    }
    StepOutputs outputs;
    for (const SequenceGroup* g : ready)
      (g->beam ? outputs.read : outputs.sampled) += g->beam ? 1 : int64_t(g->branches.size());
    const Tensor residual = forward_.run(step, kv_cache_.get(), outputs);
    if (!ready.empty()) first_tokens(ready, residual);
  }
}

// Samples the first token of every branch from the last row of its prompt.
void Generator::first_tokens(const std::vector<SequenceGroup*>& ready, const Tensor& residual) {
  std::vector<SampleParams> params;
  std::vector<int32_t> rows, tokens;
  std::vector<float> logps;
  SampledTokens& sampled = sampled_[current_];
  for (size_t i = 0; i < ready.size(); ++i) {
    ready[i]->prefilled = true;
    if (ready[i]->beam) {
      advance_beams(*ready[i], residual, int64_t(i), 1);
      continue;
    }
    for (const Branch& b : ready[i]->branches) {
      params.push_back(sample_params(*ready[i], b));
      rows.push_back(int32_t(i));
    }
  }
  forward_.sample(residual, params, rows, sampled);
  forward_.read(sampled, tokens, logps);
  size_t at = 0;
  for (SequenceGroup* g : ready) {
    if (g->beam) continue;
    for (Branch& b : g->branches) {
      append_token(*g, b, tokens[at], logps[at]);
      ++at;
    }
  }
}

}  // namespace vpref
