// SPDX-License-Identifier: Apache-2.0
// The trained parameters: LoRA on the language model's linears, the projector, or the whole language model. Allocates
// them in the flat store, makes the model's weights read them, and keeps views of their gradients.
#pragma once
#include <string>
#include <vector>

#include "model/decoder.h"
#include "model/load.h"
#include "train/parameters.h"

namespace vpref {

// The names of a layer's linears.
inline std::vector<std::string> all_linears() {
  std::vector<std::string> names;
  for (const LinearInfo& l : kLinears) names.push_back(l.name);
  return names;
}

// The adapter of one linear; rank 0: none.
struct LoraShape {
  int64_t r = 0;
  double alpha = 0;
};

struct TrainableOptions {
  int64_t lora_r = 0;  // 0: no adapter
  double lora_alpha = 0;
  bool use_rslora = false;
  std::vector<std::string> lora_targets = all_linears();
  // One per linear, layer by layer, in the order of all_linears(); replaces lora_r, lora_alpha and lora_targets. Or
  // empty.
  std::vector<LoraShape> lora_shapes;
  double lora_dropout = 0;  // dropout probability of A's input in training passes, in [0, 1)
  bool projector = false;
  bool language_model = false;  // full fine-tuning; excludes lora_r
  uint64_t seed = 0;            // for the initial LoRA A
  // An adapter of the model to continue from: its pairs on the decoder's linears keep their rank and scale; the
  // projector is trained if the adapter holds one. Its other tensors stay fixed. lora_r, lora_alpha, use_rslora,
  // lora_targets and lora_shapes are then unused.
  const LoadedAdapter* start = nullptr;
  int state_shares = 1;  // number of ranks that may share the optimizer's moments
};

// Learning-rate groups of the store.
enum ParameterGroup : int { kMain = 0, kMainNoDecay = 1, kProjector = 2, kProjectorNoDecay = 3 };

class Trainable {
 public:
  // Makes `weights` read the trained parameters; both must outlive this object. LoRA A starts as PEFT's
  // kaiming_uniform(a = sqrt 5), which is U(-1/sqrt(K), 1/sqrt(K)), from Philox keyed by the seed. B starts at zero,
  // full weights at the checkpoint's values. Throws Error{"config"} for an unknown target, nothing to train, or a
  // projector that the model lacks; Error{"memory"} if the GPU lacks the memory.
  Trainable(Context& ctx, const ModelConfig& config, Weights& weights, DType compute, const TrainableOptions& options);

  ParameterStore store;
  std::vector<LayerGrads> layers;
  std::vector<Tensor> connector;               // gradients of Vision::connector(), in its order
  Tensor embed_grad, norm_grad, lm_head_grad;  // full fine-tuning; lm_head_grad is embed_grad when tied
  bool trains_projector = false;
  bool trains_language_model = false;

  // Elements [begin, end) of the store per layer; their gradients are final after the layer's backward.
  const std::vector<std::pair<int64_t, int64_t>>& layer_ranges() const { return layer_ranges_; }

  // Disables the trained adapter (the reference), or enables it.
  void enable_adapter(bool on);

  bool has_dropout() const { return dropout_.p > 0; }
  // While it lives, the trained adapter uses dropout; rows: LoraDropout::rows, or empty.
  class Dropping {
   public:
    Dropping(Trainable& trained, const Tensor& rows) : dropout_(trained.dropout_) { dropout_.rows = rows; }
    ~Dropping() { dropout_.rows = Tensor(); }
    Dropping(const Dropping&) = delete;
    Dropping& operator=(const Dropping&) = delete;

   private:
    LoraDropout& dropout_;
  };

 private:
  struct Slot {  // the tensor that reads a parameter, and its gradient
    Tensor* value;
    Tensor* grad;
    Tensor start;    // checkpoint value for full weights, empty for LoRA
    int64_t fan_in;  // LoRA A; 0 for B and full weights
  };
  void add(const std::string& name, int64_t rows, int64_t cols, int group, Slot slot);
  void add_lora(const std::string& path, Linear& linear, LinearGrads& grads, LoraShape shape, bool use_rslora);
  void add_started_lora(const std::string& path, Linear& linear, LinearGrads& grads);
  void add_connector(Vision& vision);
  void add_weight(const std::string& name, Tensor& value, Tensor& grad, int group);
  void check_memory(Context& ctx, DType compute, const TrainableOptions& options) const;
  void set_dropout(double p, uint64_t seed, Weights& weights);
  void initialise(Context& ctx, uint64_t seed);

  std::vector<Slot> slots_;
  std::vector<Linear*> adapted_;
  LoraDropout dropout_;
  std::vector<std::pair<int64_t, int64_t>> layer_ranges_;
};

// Module path of decoder layer i in transformers since 4.52: "model.layers.3", or below the family's ModuleNames::text.
std::string layer_path(const ModelConfig& config, size_t layer);

}  // namespace vpref
