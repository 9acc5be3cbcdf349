// SPDX-License-Identifier: Apache-2.0
// A checkpoint directory as a model: configuration, mapped weights, adapters; converted or uploaded only when first
// used.
#pragma once
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/arena.h"
#include "input/pixels.h"
#include "model/family_tensors.h"
#include "model/image_layout.h"
#include "model/model.h"
#include "model/pack.h"
#include "model/pack_cache.h"
#include "model/safetensors.h"

namespace vpref {

// What an adapter's file held, and where it went: for a trainer that goes on from it.
struct LoadedAdapter {
  struct Lora {
    Linear* linear;      // the pair is the last of its adapters
    std::string module;  // in transformers' module tree
    std::string key_a, key_b;
  };
  struct Other {
    std::string key;
    std::string name;    // in transformers' module tree
    const Tensor* slot;  // the weight it replaces; null: LoRA on the embedding, or not used by the engine
  };
  std::string dir;
  const Safetensors* file;
  std::vector<Lora> loras;
  std::vector<Other> others;
  std::vector<std::string> notes;
};

class Model {
 public:
  // Reads config.json, generation_config.json and the headers of every shard; maps the weights. No weight is read.
  // normalisation: of images; may be left out where none are encoded. Throws Error{"io" | "config" | "checkpoint"}
  // naming file and key or tensor.
  Model(const std::string& dir, Device device, DType compute,
        const std::optional<Normalisation>& normalisation = std::nullopt);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Adds a PEFT adapter to its linears, unmerged; several add up. Replaced weights (modules_to_save) take effect too.
  // Before prepare().
  void add_adapter(const std::string& dir);
  const std::list<LoadedAdapter>& adapters() const { return adapters_; }
  // Has prepare() pack the decoder's linears, as nf4 or int8; none: as stored. Before prepare(). Throws
  // Error{"request"} where the checkpoint's own are packed.
  // cache: a file that prepare() reads the packed weights from, or writes them to (PackCache); "": none.
  void pack_base(Packing packing, const std::string& cache = "", int threads = 1);
  // What was taken otherwise than it stands there; for people.
  std::vector<std::string> notes() const;
  // Gives a tied head its own weight, equal to the embedding's, and a name of its own in the files.
  void untie_head();

  // Brings every weight to where and how the ops read it; does nothing the second time. On the CPU weights stay in the
  // file's own pages where the ops take their dtype (f32 compute: all of them; bf16: those stored as bf16), else they
  // are converted once and the pages given back; a matrix that is packed is read by all threads a part at a time, so no
  // more than one is in memory as stored. On CUDA all go into one slab: matrices in the compute dtype, vectors
  // as stored. While ctx measures nothing is read and no memory taken: weights get shapes, dtypes and addresses alone.
  // Throws Error{"memory"} before anything is read when they do not fit.
  void prepare(Context& ctx);

  // A tensor as the checkpoint stores it, and where the model reads it: the place holds what is computed with now
  // (trained weights too).
  struct StoredName {
    std::string name;
    size_t shard;          // index into shard_paths()
    const Tensor* place;   // null: not used by the engine, only carried
    const Linear* linear;  // the linear layer whose weight it is, for its adapters; else null
    Tensor stored;         // the file's own bytes
    PackedWeight carried;  // of a matrix that is packed and not used by the engine
  };
  const std::vector<StoredName>& stored_names() const { return stored_names_; }
  std::vector<std::string> shard_paths() const;

  // Throws Error{"request"} for a text-only model.
  const Vision& vision() const;
  // Throws Error{"internal"} where none was given.
  const Normalisation& normalisation() const;

  ModelConfig config;
  Weights weights;
  Device device() const { return device_; }
  DType compute() const { return compute_; }
  DType stored_dtype() const { return stored_; }
  int64_t num_parameters() const { return num_parameters_; }
  // What the decoder's linears are held as: by pack_base, or in the checkpoint.
  Packing form() const { return packing_ != Packing::none ? packing_ : stored_form(); }
  Packing stored_form() const;                           // in the checkpoint
  size_t mapped_bytes() const { return mapped_bytes_; }  // read in place
  size_t owned_bytes() const { return owned_bytes_; }    // converted or uploaded

 private:
  struct Placed {
    Tensor* slot;
    const MappedFile* file;
    bool summed;  // TensorSpec::summed
  };
  // A linear whose weight the checkpoint holds packed.
  struct PackedPlace {
    Linear* linear;
    std::string name;
  };
  friend class AdapterLoader;
  void open_shards(const std::string& dir);
  void point(Tensor& slot, const Tensor& value, const Safetensors& file);
  void fold_embedding_adapters(int threads);
  void tie_or_untie();
  void bind_tensors();
  void bind_packed(const TensorSpec& spec, const std::string& path, StoredIndex& stored, size_t shard);
  Tensor place(Context& ctx, const Tensor& stored, DType dtype);
  Linear* to_pack(const Placed& placed);
  void place_packed(Context& ctx, Linear& linear, const Placed& placed);
  void upload_packed(Context& ctx, PackedWeight& weight);
  void note_form(LoadedAdapter& adapter) const;
  DType placed_dtype(const Placed& placed) const;
  template <class Body>
  void for_each_adapter_tensor(Body body);

  std::optional<Normalisation> normalisation_;
  Device device_;
  DType compute_;
  DType stored_ = DType::f32;
  bool prepared_ = false;
  int64_t num_parameters_ = 0;
  size_t mapped_bytes_ = 0, owned_bytes_ = 0;
  std::list<Safetensors> shards_;
  size_t num_model_shards_ = 0;  // those after them are adapters'
  std::list<LoadedAdapter> adapters_;
  std::vector<LoraPair> embedding_adapters_;
  Buffer folded_embedding_;
  std::vector<std::string> notes_;
  FamilyTensors tensors_;
  std::vector<Placed> placed_;
  Packing packing_ = Packing::none;
  std::unique_ptr<PackCache> pack_cache_;
  std::vector<PackedPlace> packed_;
  std::vector<StoredName> stored_names_;
  std::vector<Buffer> owned_;
  Arena device_weights_;  // all of them, when they are not on the CPU or the context measures
};

}  // namespace vpref
