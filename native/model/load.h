// SPDX-License-Identifier: Apache-2.0
// A checkpoint directory as a model: configuration, mapped weights, adapters. Weights are converted or uploaded at
// first use.
#pragma once
#include <exception>
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

// Contents of an adapter's file and their destinations, for a trainer that continues from it.
struct LoadedAdapter {
  struct Lora {
    Linear* linear;      // the pair is the last of this linear's adapters
    std::string module;  // in transformers' module tree
    std::string key_a, key_b;
  };
  struct Other {
    std::string key;
    std::string name;    // in transformers' module tree
    const Tensor* slot;  // the replaced weight; null: LoRA on the embedding, or not used by the engine
  };
  std::string dir;
  const Safetensors* file;
  std::vector<Lora> loras;
  std::vector<Other> others;
  std::vector<std::string> notes;
};

class Model {
 public:
  // Reads config.json, generation_config.json and the header of every shard, and maps the weights; reads no weight.
  // normalisation: of images; optional if no images are encoded. Throws Error{"io" | "config" | "checkpoint"} naming
  // file and key or tensor.
  Model(const std::string& dir, Device device, DType compute,
        const std::optional<Normalisation>& normalisation = std::nullopt);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Adds a PEFT adapter to its linears, unmerged; several adapters add up. Also replaces the weights of
  // modules_to_save. Call before prepare().
  void add_adapter(const std::string& dir);
  const std::list<LoadedAdapter>& adapters() const { return adapters_; }
  // Makes prepare() pack the decoder's linears as nf4 or int8; none: as stored. Call before prepare(). Throws
  // Error{"request"} if the checkpoint is packed already.
  // cache: a file that prepare() reads packed weights from, or writes them to (PackCache); "": no cache.
  void pack_base(Packing packing, const std::string& cache = "", int threads = 1);
  // Notes for the user about tensors and settings that are read differently from how they are stored.
  std::vector<std::string> notes() const;
  // Unties the head: it gets its own weight, equal to the embedding's, and its own name in the files.
  void untie_head();

  // Prepares every weight for the ops; a second call does nothing. On the CPU a weight stays in the pages of its file
  // if the ops accept its dtype (f32 compute: always; bf16: if stored as bf16). Otherwise it is converted once, and its
  // pages are released. All threads read a matrix that is packed, part by part, so at most one matrix is in memory as
  // stored. On CUDA all weights are in one allocation: matrices in the compute dtype, vectors as stored. While
  // ctx measures, nothing is read or allocated: weights only get shapes, dtypes and addresses. Throws Error{"memory"}
  // before reading if they do not fit. An error is thrown again by every later call: a model that is prepared in part
  // has other numbers.
  void prepare(Context& ctx);

  // A tensor of the checkpoint, and the place from which the model reads it: the current value, which may be trained.
  struct StoredName {
    std::string name;
    size_t shard;          // index into shard_paths()
    const Tensor* place;   // null: not used by the engine, only copied
    const Linear* linear;  // the linear layer with this weight, for its adapters; else null
    Tensor stored;         // the file's own bytes
    PackedWeight carried;  // a packed matrix that the engine does not use
  };
  const std::vector<StoredName>& stored_names() const { return stored_names_; }
  std::vector<std::string> shard_paths() const;

  // Throws Error{"request"} for a text-only model.
  const Vision& vision() const;
  // Throws Error{"internal"} if none was given.
  const Normalisation& normalisation() const;

  ModelConfig config;
  Weights weights;
  Device device() const { return device_; }
  DType compute() const { return compute_; }
  DType stored_dtype() const { return stored_; }
  int64_t num_parameters() const { return num_parameters_; }
  // The packing of the decoder's linears: by pack_base, or in the checkpoint.
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
  // A linear whose weight is packed in the checkpoint.
  struct PackedPlace {
    Linear* linear;
    std::string name;
    const MappedFile* file;
  };
  // A newly packed weight that the cache file is still to hold.
  struct Uncached {
    Linear* linear;
    Buffer memory;
  };
  friend class AdapterLoader;
  void open_shards(const std::string& dir);
  void point(Tensor& slot, const Tensor& value, const Safetensors& file);
  void fold_embedding_adapters(int threads);
  void tie_or_untie();
  void bind_tensors();
  void bind_packed(const TensorSpec& spec, const std::string& path, StoredIndex& stored, size_t shard);
  void reserve_weights(const Context& ctx);
  void place_weights(Context& ctx);
  Tensor place(Context& ctx, const Tensor& stored, DType dtype);
  Linear* to_pack(const Placed& placed);
  void pack(Context& ctx, Linear& linear, const Placed& placed);
  void place_packed(Context& ctx, PackedWeight& weight, Buffer memory);
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
  std::exception_ptr prepare_error_;
  int64_t num_parameters_ = 0;
  size_t mapped_bytes_ = 0, owned_bytes_ = 0;
  std::list<Safetensors> shards_;
  size_t num_model_shards_ = 0;  // the shards after these belong to adapters
  std::list<LoadedAdapter> adapters_;
  std::vector<LoraPair> embedding_adapters_;
  Buffer folded_embedding_;
  std::vector<std::string> notes_;
  FamilyTensors tensors_;
  std::vector<Placed> placed_;
  Packing packing_ = Packing::none;
  std::unique_ptr<PackCache> pack_cache_;
  std::vector<PackedPlace> packed_;
  std::vector<Uncached> uncached_;
  std::vector<StoredName> stored_names_;
  std::vector<Buffer> owned_;
  Arena device_weights_;  // all weights, unless they are on the CPU and the context does not measure
};

}  // namespace vpref
