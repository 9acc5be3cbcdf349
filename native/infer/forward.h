// SPDX-License-Identifier: Apache-2.0
// One forward of packed rows through the decoder, with or without the KV cache. Owns the step's memory: measured for
// the largest step, never allocated inside one.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/launch_graphs.h"
#include "core/memory.h"
#include "infer/image_cache.h"
#include "infer/kv_cache.h"
#include "model/decoder.h"
#include "model/load.h"
#include "model/tree.h"
#include "ops/sample_token.h"

namespace vpref {

// A piece of an image and the image's rows.
struct PlacedPiece {
  ImagePiece at;  // rows of the step
  const ImageRows* image;
};

// Tokens that were drawn and are on their way to the host: [count] ids, then [count] log-probabilities.
struct DrawnTokens {
  explicit DrawnTokens(Device device) : download(device) {}
  int64_t count = 0;
  Download download;
};

// New rows of one step, on the host.
struct StepRows {
  std::vector<int32_t> token_ids;    // [T], -1 on image rows
  std::vector<int32_t> drawn_index;  // decode(): row i is token drawn_index[i] of the draw before, where that is not
                                     // -1; the host may not know it yet
  Positions positions;               // [P,T]
  std::vector<int32_t> kv_rows;      // [T] cache rows; empty: the step's own rows are the cache (scoring)
  std::vector<PlacedPiece> images;
  AttentionPlan plan;                       // ranges in cache rows, or step rows without the cache
  std::vector<int32_t> wanted;              // [R] rows whose final residual is read, ascending
  std::vector<AttentionSpan> wanted_spans;  // plan of the wanted rows as queries, over plan.ranges (see add_segment)

  explicit StepRows(int32_t num_position_axes = 1) : positions(num_position_axes) {}
  // Appends rows of a segment, whose positions were added: `ranges` are what they see, the last one ending with these
  // very rows. wanted_rows: ascending indices within these rows. path: of plan.paths, that the ranges follow, or -1.
  void add_segment(std::span<const int32_t> ids, std::span<const KvRange> ranges, std::span<const int32_t> wanted_rows,
                   int32_t path);
  // The same of a tree: its rows that predict something are wanted.
  explicit StepRows(const TreeBatch& tree);
  int64_t num_rows() const { return int64_t(token_ids.size()); }
};

// What of a step's wanted rows is read after run().
struct StepOutputs {
  int64_t drawn = 0;   // tokens, by sample()
  int64_t scored = 0;  // targets, by score()
  int64_t read = 0;    // rows of logits, by logits()
  bool operator==(const StepOutputs&) const = default;
};

class Forward {
 public:
  // Plans for steps of `max_rows` rows and as many outputs; a larger single tree makes the plan grow.
  Forward(Context& ctx, const Model& model, int64_t max_rows, bool launch_graphs = true);

  // The wanted rows' residual stream after the last layer: [R,D], valid until the next call. There is memory for
  // `outputs` of it.
  Tensor run(const StepRows& rows, const KvCache* kv_cache, const StepOutputs& outputs);
  // out[count * V]: logits of rows [begin, begin + count) of what run() gave, on the host.
  void logits(const Tensor& residual, int64_t begin, int64_t count, std::vector<float>& out);
  // Draws one token from the logits of each of these rows of `residual`. Nobody waits: read() does.
  void sample(const Tensor& residual, const std::vector<SampleParams>& params, std::span<const int32_t> rows,
              DrawnTokens& drawn);
  // A step of one row a branch, and the draw of the next token of each: run() and sample() of every row, the whole step
  // being one thing to launch.
  void decode(const StepRows& rows, const KvCache& kv_cache, const std::vector<SampleParams>& params,
              DrawnTokens& drawn);
  void read(DrawnTokens& drawn, std::vector<int32_t>& tokens, std::vector<float>& logps);
  // Log-probabilities of targets[i] at row rows[i] of `residual`.
  void score(const Tensor& residual, std::span<const int32_t> rows, std::span<const int32_t> targets,
             std::vector<float>& logps);

  const LaunchGraphs& graphs() const { return graphs_; }
  // Bytes of the largest step within max_rows.
  size_t plan_bytes();
  // Weights or adapters have changed: what was measured no longer holds.
  void forget_plan();
  size_t planned_bytes() const { return arena_.capacity(); }
  size_t peak_bytes() const { return arena_.peak(); }  // in use at most since the memory was taken

 private:
  // All that decides the bytes of a step.
  struct StepSize {
    int64_t rows = 0, wanted = 0;
    bool decodes = false, cached = false;  // decode(), or run() with a cache or without
    StepOutputs outputs;
    bool operator==(const StepSize&) const = default;
  };
  size_t measure(const StepSize& size);
  size_t measure_plan(int64_t rows);
  void reserve(const StepSize& size);
  Tensor walk(const StepRows& rows, const KvCache* kv_cache);
  void draw_next(const StepRows& rows, const KvCache& kv_cache, const std::vector<SampleParams>& params,
                 DrawnTokens& drawn);
  Tensor upload(const std::vector<int32_t>& values);
  Tensor upload(const Positions& positions);
  std::vector<Tensor> upload_together(std::initializer_list<const std::vector<int32_t>*> lists);
  void place_drawn(const std::vector<int32_t>& index, const Tensor& ids);
  LaunchGraphs::Signature signature(int64_t num_rows, const KvCache& kv_cache,
                                    const std::vector<uint64_t>& attention) const;
  Tensor drawn_ids(int64_t count) const { return Tensor(drawn_memory_.data(), DType::i32, {count}); }
  Tensor drawn_logps(int64_t count) const {
    return Tensor(static_cast<int32_t*>(drawn_memory_.data()) + count, DType::f32, {count});
  }
  Tensor head(const Tensor& residual);
  Tensor gather(const Tensor& residual, std::span<const int32_t> rows);

  Context& ctx_;
  const Model& model_;
  const int64_t head_rows_;  // rows of logits that are held at once
  const int64_t max_rows_;
  size_t plan_bytes_ = 0;  // 0: not measured yet
  StepSize larger_;        // the last step that was not within the plan
  size_t larger_bytes_ = 0;
  Arena arena_;
  RopeTables rope_;
  Buffer drawn_memory_;  // of the last draw: ids, then log-probabilities; always in one place
  LaunchGraphs graphs_;  // of decode()
};

}  // namespace vpref
