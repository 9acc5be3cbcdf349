// SPDX-License-Identifier: Apache-2.0
// A loaded model behind one compute thread and one bounded queue.
//
// Requests that wait together are computed together: prompts are prefilled into one KV cache, all unfinished branches
// decode in one step, scored trees are packed into one forward. A result does not depend on the other requests, except
// for rounding: sampling is keyed by (seed, rng_key, sample, position).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/dtype.h"
#include "core/packed_weight.h"
#include "infer/inbox.h"
#include "infer/request.h"
#include "input/pixels.h"
#include "model/image_layout.h"
#include "model/model.h"

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
  bool launch_graphs = true;                   // CUDA: capture and replay decoding steps whose launches repeat
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
  Packing packing = Packing::none;      // EngineOptions::packing
  Packing stored_form = Packing::none;  // Model::stored_form
  int64_t num_parameters = 0;
  int threads = 1;
  std::vector<std::string> notes;  // Model::notes
};

class Engine : private Inbox {
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
  RequestId generate(GenerateRequest request, GenerateDone done);
  RequestId score(ScoreRequest request, ScoreDone done);
  using Inbox::run, Inbox::cancel, Inbox::pace, Inbox::advance;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vpref
