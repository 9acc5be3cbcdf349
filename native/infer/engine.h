// SPDX-License-Identifier: Apache-2.0
// The engine's face: a loaded model behind one compute thread and one bounded queue. Tokens in, tokens and
// log-probabilities out.
//
// Requests that wait together are computed together: prompts are prefilled into one KV cache, all unfinished branches
// decode in one step, scored trees are packed into one forward. What a request gets does not depend on its company but
// for rounding: the draws are keyed by (seed, rng_key, sample, position).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/context.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/packed_weight.h"
#include "input/image.h"
#include "input/pixels.h"
#include "model/image_layout.h"
#include "model/model.h"
#include "ops/sample_token.h"

namespace vpref {

class Model;  // model/load.h

struct EngineOptions {
  std::string model_dir;                  // Hugging Face layout
  std::vector<std::string> adapter_dirs;  // PEFT layout; all of them add up, unmerged
  Device device = Device::cpu;
  std::optional<DType> dtype;       // compute dtype f32 or bf16; none: f32 on the CPU, bf16 on CUDA
  Packing packing = Packing::none;  // of the decoder's linears; none: as stored
  std::string pack_cache;           // a file to read the packed weights from, or to write them to; "": none
  int threads = 0;                  // 0: one per physical core this process may use
  int64_t batch_tokens =
      0;  // packed rows of one forward; 0: 1024 on the CPU, 8192 on CUDA. A larger single tree still goes alone.
  int64_t kv_tokens = 0;  // rows of the KV cache; 0: what a quarter of the memory holds, at most 16384 (CUDA: what is
                          // left of the GPU's, at most 262144)
  std::optional<Normalisation> normalisation;  // of images; a text-only model needs none
  size_t queue_limit = 4096;                   // requests waiting or running
  bool launch_graphs = true;                   // CUDA: decoding steps whose launches repeat are recorded and replayed
  std::vector<std::string> token_bytes;  // bytes of every token id, for stop strings; may be empty when none are used
};

// What a caller must know about the loaded model.
struct EngineInfo {
  std::string model_type;
  bool has_vision = false;
  int32_t image_token_id = -1;
  ModuleNames modules;
  std::vector<std::string> connector_parts;  // names of Vision::connector()
  int32_t vocab_size = 0;
  int32_t max_position_embeddings = 0;
  std::vector<int32_t> eos_token_ids;
  Device device = Device::cpu;
  DType dtype = DType::f32;
  DType stored_dtype = DType::f32;
  Packing packing = Packing::none;  // EngineOptions::packing
  int64_t num_parameters = 0;
  int threads = 1;
  std::vector<std::string> notes;  // Model::notes
};

// Stops a branch that repeats itself: its last tokens are `min_repeats` copies of one pattern of at most `max_period`
// tokens. 0 is off.
struct RepetitionCheck {
  int32_t max_period = 0;
  int32_t min_repeats = 8;  // fewer may be an answer
};

struct GenerateRequest {
  std::vector<int32_t> prompt;  // ids, the image token once per image row (canonical expanded ids)
  std::vector<Image> images;    // in the order of their runs in the prompt
  int32_t num_samples = 1;      // samples drawn from this one prefix
  uint32_t first_sample = 0;    // number of the first: n samples of one request draw the same as n requests of one
  SampleParams sampling;        // of every draw but for `branch` and `position`
  int32_t max_new_tokens = 256;
  std::vector<int32_t> eos_token_ids;     // empty: the model's
  std::vector<std::string> stop_strings;  // bytes; matched on the response's bytes, also across tokens
  RepetitionCheck repetition;
  int32_t num_beams = 1;  // > 1: beam search as transformers does it (length penalty 1, early_stopping false); needs
                          // temperature 0 and 1 branch
};

enum class FinishReason : uint8_t { stop, length, repetition };
const char* finish_reason_name(FinishReason reason);  // "stop", "length", "repetition"

struct GeneratedBranch {
  std::vector<int32_t> token_ids;      // end token included when it was drawn
  std::vector<float> per_token_logps;  // raw: full vocabulary, temperature 1
  double logps = 0;                    // their sum
  FinishReason finish_reason = FinishReason::length;
  int32_t stop_string = -1;  // which of stop_strings ended it; -1: an end token or none
};

struct GenerateResult {
  std::vector<GeneratedBranch> branches;
  int32_t num_prompt_tokens = 0;
};

// One node of a scored tree. The parent stands earlier in the list; -1 starts a tree at position 0.
struct ScoreSegment {
  int32_t parent = -1;
  std::vector<int32_t> token_ids;  // ids, the image token once per image row
  std::vector<int32_t> images;     // ScoreRequest::images index of each run of image rows, in order
  bool scored = false;  // a response, whose log-probabilities are wanted: every id is a token, also the image token's
};

// Usually one prompt and its branches; several trees (clean and distorted image) may share one request and one copy of
// an image.
struct ScoreRequest {
  std::vector<ScoreSegment> segments;
  std::vector<Image> images;
};

struct ScoredSegment {
  int32_t segment = 0;
  std::vector<float> per_token_logps;
  double logps = 0;
};

struct ScoreResult {
  std::vector<ScoredSegment> segments;  // the scored ones, in request order
};

// What a callback gets: the result, or why there is none (code "cancelled" after cancel()).
template <class T>
using Outcome = std::variant<T, Error>;

class Engine {
 public:
  // Reads configuration and headers, maps the weights (nothing is converted or uploaded before the first request),
  // starts the compute thread. Throws Error{"checkpoint" | "config" | "device" | "dtype" | "io" | "memory"}.
  explicit Engine(EngineOptions options);
  ~Engine();  // waiting and running requests end as cancelled
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const EngineInfo& info() const;
  // As the family's Vision; from any thread. Throw Error{"request"} for a text-only model too.
  ImageLayout layout(const ImageShape& shape) const;
  int64_t num_features(const ImageShape& shape) const;
  std::string memory_plan();  // what is planned and used, one item a line; for --verbose

  using RequestId = uint64_t;
  // Each queues a request and returns at once; `done` is called exactly once, on the compute thread, and must not throw
  // or block. Bad requests throw Error{"request"} here; a full queue Error{"busy"}; a closed engine Error{"closed"}.
  RequestId generate(GenerateRequest request, std::function<void(Outcome<GenerateResult>)> done);
  RequestId score(ScoreRequest request, std::function<void(Outcome<ScoreResult>)> done);
  // Runs `job` alone on the compute thread, between steps (training).
  RequestId run(std::function<void(Context&, Model&)> job, std::function<void(Outcome<std::monostate>)> done);
  // Paced, the engine computes only when told to: each advance() goes on until a request ends, or none is left, and
  // calls `paused` after that request's own callback. What is queued between two advances makes the same batches
  // whatever the timing of its arrival.
  void pace(bool paced);
  void advance(std::function<void()> paused);
  // Its callback gets Error{"cancelled"} at the next step boundary, unless it has finished. A job that has begun is not
  // interrupted.
  void cancel(RequestId id);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vpref
