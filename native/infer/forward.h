// SPDX-License-Identifier: Apache-2.0
// One forward of packed rows through the decoder, with or without the KV cache. It owns the memory of a step, which is
// measured for the largest step and never allocated inside one (forward_plan.cc).
#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/launch_graphs.h"
#include "core/memory.h"
#include "infer/image_cache.h"
#include "infer/kv_cache.h"
#include "infer/step_rows.h"
#include "model/decoder.h"
#include "model/load.h"
#include "ops/sample_token.h"

namespace vpref {

// Sampled tokens whose copy to the host is running: [count] ids, then [count] log-probabilities.
struct SampledTokens {
  explicit SampledTokens(Device device) : download(device) {}
  int64_t count = 0;
  Download download;
};

// How many outputs are read after run().
struct StepOutputs {
  int64_t sampled = 0;  // tokens, by sample()
  int64_t scored = 0;   // targets, by score()
  int64_t read = 0;     // rows of logits, by logits()
  bool operator==(const StepOutputs&) const = default;
};

class Forward {
 public:
  // Plans for steps of `max_rows` rows and as many outputs; a larger single tree makes the plan grow.
  Forward(Context& ctx, const Model& model, int64_t max_rows, bool launch_graphs = true);

  // Returns the residual stream of the wanted rows after the last layer: [R,D], valid until the next call. The step has
  // memory for `outputs`.
  Tensor run(const StepRows& rows, const KvCache* kv_cache, const StepOutputs& outputs);
  // out[count * V]: logits of the rows [begin, begin + count) of `residual`, on the host.
  void logits(const Tensor& residual, int64_t begin, int64_t count, std::vector<float>& out);
  // Samples one token from the logits of each of these rows of `residual`. read() waits for them.
  void sample(const Tensor& residual, const std::vector<SampleParams>& params, std::span<const int32_t> rows,
              SampledTokens& sampled);
  // A step of one row per branch, and the next token of each: run() and sample() of every row as one launch.
  void decode(const StepRows& rows, const KvCache& kv_cache, const std::vector<SampleParams>& params,
              SampledTokens& sampled);
  void read(SampledTokens& sampled, std::vector<int32_t>& tokens, std::vector<float>& logps);
  // Log-probabilities of targets[i] at row rows[i] of `residual`.
  void score(const Tensor& residual, std::span<const int32_t> rows, std::span<const int32_t> targets,
             std::vector<float>& logps);

  const LaunchGraphs& graphs() const { return graphs_; }
  // Bytes of the largest step within max_rows.
  size_t plan_bytes();
  // Measures again, because weights or adapters have changed.
  void forget_plan();
  size_t planned_bytes() const { return arena_.capacity(); }
  size_t peak_bytes() const { return arena_.peak(); }  // maximum in use since the memory was allocated

 private:
  static constexpr int64_t kMaxSampled = 4096;  // tokens of one step

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
  Tensor upload(const std::vector<int32_t>& values);
  Tensor upload(const Positions& positions);
  std::vector<Tensor> upload_together(std::initializer_list<const std::vector<int32_t>*> lists);
  void place_sampled(const std::vector<int32_t>& index, const Tensor& ids);
  LaunchGraphs::Signature signature(int64_t num_rows, const KvCache& kv_cache,
                                    const std::vector<uint64_t>& attention) const;
  Tensor sampled_ids(int64_t count) const { return Tensor(sampled_memory_.data(), DType::i32, {count}); }
  Tensor sampled_logps(int64_t count) const {
    return Tensor(static_cast<int32_t*>(sampled_memory_.data()) + count, DType::f32, {count});
  }
  Tensor head(const Tensor& residual);
  Tensor gather(const Tensor& residual, std::span<const int32_t> rows);

  Context& ctx_;
  const Model& model_;
  const int64_t head_rows_;  // rows of logits that are held at once
  const int64_t max_rows_;
  size_t plan_bytes_ = 0;  // 0: not measured yet
  StepSize larger_;        // the last step beyond the plan
  size_t larger_bytes_ = 0;
  Arena arena_;
  RopeTables rope_;
  Buffer sampled_memory_;  // of the last step: ids, then log-probabilities; its address is fixed
  LaunchGraphs graphs_;    // of decode()
};

}  // namespace vpref
