// SPDX-License-Identifier: Apache-2.0
#include "model/load.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <regex>
#include <set>

#include "core/error.h"
#include "core/memory.h"
#include "families/family.h"
#include "model/json.h"
#include "ops/elementwise.h"

namespace vpref {

namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

bool ends_with(const std::string& s, const char* suffix) { return std::string_view(s).ends_with(suffix); }

std::string gibibytes(size_t bytes) {
  std::ostringstream s;
  s.precision(3);
  s << double(bytes) / double(size_t(1) << 30) << " GiB";
  return s.str();
}

// Buffers that old checkpoints carry and nothing reads.
bool ignorable(const std::string& name) {
  return ends_with(name, ".rotary_emb.inv_freq") || ends_with(name, "embeddings.position_ids");
}

// File names below `dir` that hold the weights: the shards of the index, or the single file.
// As transformers does, the single file comes first where both are there.
std::vector<std::string> weight_files(const std::string& dir, std::map<std::string, std::string>& weight_map,
                                      std::vector<std::string>& notes) {
  const std::string index_path = dir + "/model.safetensors.index.json";
  if (file_exists(dir + "/model.safetensors")) {
    if (file_exists(index_path))
      notes.push_back(cat(
          dir,
          ": model.safetensors is read, as transformers does; model.safetensors.index.json and its shards are not"));
    return {"model.safetensors"};
  }
  check(file_exists(index_path), "checkpoint", dir,
        ": expected model.safetensors or model.safetensors.index.json, got neither");
  const Json index = read_json_file(index_path);
  const Json* map = index.find("weight_map");
  check(map && map->is_object(), "checkpoint", index_path, ": weight_map: expected an object");
  std::set<std::string> files;
  for (const auto& [name, file] : map->object()) {
    check(file.is_string(), "checkpoint", index_path, ": weight_map: ", name, ": expected a file name, got ",
          file.kind_name());
    check(!file.string().empty() && file.string().find('/') == std::string::npos && file.string() != "..", "checkpoint",
          index_path, ": weight_map: ", name, ": expected a file name, got ", json_quote(file.string()));
    files.insert(file.string());
    weight_map.emplace(name, file.string());
  }
  check(!files.empty(), "checkpoint", index_path, ": weight_map: expected tensors, got none");
  return {files.begin(), files.end()};
}

// A tensor's path without what stands around a model that is trained. LoRA's own tensors keep their names: a model that
// has them is not whole without them.
std::string plain_name(const std::string& name) {
  constexpr std::string_view kPeft = "base_model.model.";
  std::string path = without_wrappers(name);
  if (path.starts_with(kPeft)) path = without_wrappers(path.substr(kPeft.size()));
  return path;
}

std::string chosen_prefix(const FamilyTensors& family, int group, const StoredIndex& stored) {
  const TensorGroup& g = family.groups[size_t(group)];
  for (const bool optional : {false, true}) {
    for (const TensorSpec& spec : family.tensors) {
      if (spec.group != group || spec.optional != optional) continue;
      for (const std::string& prefix : g.prefixes) {
        if (stored.contains(prefix + spec.name)) return prefix;
      }
      if (!optional) break;
    }
  }
  return g.prefixes.front();
}

// The linear layer whose weight it is, or null.
Linear* linear_of(const FamilyTensors& tensors, const TensorSpec& spec) {
  const auto found = std::find_if(tensors.linears.begin(), tensors.linears.end(),
                                  [&](const LinearSpec& l) { return l.linear && &l.linear->weight == spec.slot; });
  return found == tensors.linears.end() ? nullptr : found->linear;
}

}  // namespace

Model::Model(const std::string& dir, Device device, DType compute, const std::optional<Normalisation>& normalisation)
    : normalisation_(normalisation), device_(device), compute_(compute) {
  check(compute == DType::f32 || compute == DType::bf16, "dtype", "compute dtype: expected f32 or bf16, got ",
        dtype_name(compute));
  const std::string path = dir + "/config.json";
  check(file_exists(path), "checkpoint", path, ": expected a file, got none (is this a Hugging Face model directory?)");
  const Json json = read_json_file(path);
  check(json.is_object(), "config", path, ": expected an object, got ", json.kind_name());
  const ConfigReader reader(json, path);
  const Family& family = find_family(reader);
  config = family.parse_config(reader);
  if (const std::string generation = dir + "/generation_config.json"; file_exists(generation)) {
    const Json g = read_json_file(generation);
    const ConfigReader r(g, generation);
    config.eos_token_ids = r.integers("eos_token_id", config.eos_token_ids);
  }
  open_shards(dir);
  tensors_ = set_up(family, reader, config, weights);
  bind_tensors();
  const bool says_packed = reader.has("quantization_config") ||
                           (reader.has("text_config") && reader.object("text_config").has("quantization_config"));
  const auto is_packed = [](const StoredName& s) { return s.carried || (s.linear && s.linear->packed); };
  if (says_packed && std::none_of(stored_names_.begin(), stored_names_.end(), is_packed))
    notes_.push_back(cat(path,
                         ": quantization_config: no weight is packed: they are taken as stored (transformers packs ",
                         "them at load; --quantize nf4 does so here)"));
}

const Vision& Model::vision() const {
  check(weights.vision != nullptr, "request", "image: expected none for a text-only model");
  return *weights.vision;
}

const Normalisation& Model::normalisation() const {
  check(normalisation_.has_value(), "internal", "an image came to a model that was loaded without its normalisation");
  return *normalisation_;
}

void Model::open_shards(const std::string& dir) {
  std::map<std::string, std::string> weight_map;
  for (const std::string& file : weight_files(dir, weight_map, notes_)) shards_.emplace_back(dir + "/" + file);
  num_model_shards_ = shards_.size();
  for (const auto& [name, file] : weight_map) {
    const bool found = std::any_of(shards_.begin(), shards_.end(), [&](const Safetensors& s) {
      return s.path() == dir + "/" + file && s.contains(name);
    });
    check(found, "checkpoint", dir, "/", file, ": ", name, ": expected this tensor (the index names it), got none");
  }
}

std::vector<std::string> Model::shard_paths() const {
  std::vector<std::string> paths;
  for (const Safetensors& s : shards_) {
    if (paths.size() < num_model_shards_) paths.push_back(s.path());
  }
  return paths;
}

std::vector<std::string> Model::notes() const {
  std::vector<std::string> all = notes_;
  for (const LoadedAdapter& a : adapters_) all.insert(all.end(), a.notes.begin(), a.notes.end());
  return all;
}

void Model::bind_tensors() {
  StoredIndex stored;
  std::string wrapped;
  for (const Safetensors& shard : shards_) {
    for (const auto& [name, t] : shard.tensors()) {
      const std::string path = plain_name(name);
      if (path != name) wrapped = name;
      const auto [at, fresh] = stored.emplace(path, NameInFile{&shard, name});
      check(fresh, "checkpoint", shard.path(), ": ", name, ": stands in ", at->second.file->path(), " too",
            at->second.name == name ? "" : cat(", as ", at->second.name));
    }
  }
  if (!wrapped.empty())
    notes_.push_back(cat(shards_.front().path(), ": names have what FSDP, DeepSpeed, torch.compile or peft put around ",
                         "modules: ", wrapped, " is taken for ", plain_name(wrapped)));
  std::vector<std::string> prefixes;
  for (size_t g = 0; g < tensors_.groups.size(); ++g) prefixes.push_back(chosen_prefix(tensors_, int(g), stored));
  for (const TensorSpec& spec : tensors_.tensors) {
    const auto found = stored.find(prefixes[size_t(spec.group)] + spec.name);
    if (found == stored.end()) {
      check(spec.optional, "checkpoint", shards_.front().path(), ": ", prefixes[size_t(spec.group)], spec.name,
            ": expected a tensor of shape ", shape_text(spec.stored_shape), ", got none");
      continue;
    }
    const Safetensors& shard = *found->second.file;
    const std::string name = found->second.name;
    const StoredTensor& t = shard.tensors().at(name);
    const auto shard_index =
        size_t(std::distance(shards_.begin(), std::find_if(shards_.begin(), shards_.end(),
                                                           [&](const Safetensors& s) { return &s == &shard; })));
    if (const std::string path = found->first; is_bitsandbytes(stored, path)) {
      bind_packed(spec, path, stored, shard_index);
      continue;
    }
    stored.erase(found);
    check(t.shape == spec.stored_shape, "checkpoint", shard.path(), ": ", name, ": shape: expected ",
          shape_text(spec.stored_shape), ", got ", shape_text(t.shape));
    check(t.dtype && is_float(*t.dtype), "checkpoint", shard.path(), ": ", name,
          ": dtype: expected F32, BF16 or F16, got ", t.dtype_name);
    const Tensor view = shard.view(name);
    stored_names_.push_back({name, shard_index, spec.slot, linear_of(tensors_, spec), view});
    if (!spec.slot) continue;
    *spec.slot = Tensor(view.data, view.dtype, spec.shape);
    if (placed_.empty()) stored_ = view.dtype;
    num_parameters_ += view.numel();
    placed_.push_back({spec.slot, &shard.file(), spec.summed});
  }
  for (const auto& [path, at] : stored) {
    check(ignorable(path), "checkpoint", at.file->path(), ": ", at.name, ": expected no such tensor in a ",
          config.model_type, " model");
  }
  tie_or_untie();
}

// A linear whose weight is packed in the file. What the engine does not read is checked all the same.
void Model::bind_packed(const TensorSpec& spec, const std::string& path, StoredIndex& stored, size_t shard) {
  const std::string file = stored.at(path).file->path(), name = stored.at(path).name;
  Linear* linear = linear_of(tensors_, spec);
  check(linear || !spec.slot, "checkpoint", file, ": ", name,
        ": expected a weight that is not packed, got a packed one");
  check(spec.stored_shape.size() == 2, "checkpoint", file, ": ", name, ": expected a weight of shape ",
        shape_text(spec.stored_shape), ", got a packed matrix");
  const PackedWeight weight = take_bitsandbytes(stored, path, spec.stored_shape);
  stored.erase(path);
  stored_names_.push_back({name, shard, spec.slot, linear, weight.codes, linear ? PackedWeight() : weight});
  if (!linear) return;
  linear->packed = weight;
  num_parameters_ += weight.numel();
  packed_.push_back({linear, name});
}

// A tied head that the files hold with other values is a head of its own, whatever config.json says (transformers 5,
// tie_weights).
void Model::tie_or_untie() {
  if (!config.text.tie_word_embeddings) return;
  weights.lm_head.weight = weights.embed_tokens;
  const auto head = std::find_if(stored_names_.begin(), stored_names_.end(),
                                 [](const StoredName& s) { return s.name.ends_with("lm_head.weight"); });
  if (head == stored_names_.end()) return;
  const Tensor &copy = head->stored, &embedding = weights.embed_tokens;
  if (copy.dtype == embedding.dtype && std::memcmp(copy.data, embedding.data, copy.bytes()) == 0) {
    head->place = &weights.lm_head.weight;
    head->linear = &weights.lm_head;
    return;
  }
  untie_head();
  const auto shard = std::next(shards_.begin(), ptrdiff_t(head->shard));
  point(weights.lm_head.weight, copy, *shard);
  notes_.push_back(cat(shard->path(), ": ", head->name,
                       " differs from the embedding: not tied, though config.json says tie_word_embeddings"));
}

namespace {

// What upload_packed takes of an arena.
size_t aligned_bytes(const PackedWeight& w) {
  size_t bytes = 0;
  for (const Tensor* t : {&w.codes, &w.scales, &w.book, &w.nested_scales, &w.nested_book}) bytes += aligned(t->bytes());
  return bytes;
}

// Brings what is read next from the file, by all cores.
void fetch(const Tensor& t, int threads) {
  constexpr int64_t kPart = int64_t(1) << 20;
  const int64_t bytes = int64_t(t.bytes());
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t begin = 0; begin < bytes; begin += kPart)
    MappedFile::fetch(t.as<char>() + begin, size_t(std::min(kPart, bytes - begin)));
}

}  // namespace

Tensor Model::place(Context& ctx, const Tensor& stored, DType dtype) {
  Context host(Device::cpu, ctx.num_threads);
  Tensor t = stored;
  t.dtype = dtype;
  owned_bytes_ += t.bytes();
  if (ctx.measuring()) {
    t.data = device_weights_.tensor(dtype, {t.numel()}).data;
    return t;
  }
  if (device_ == Device::cpu) {
    owned_.emplace_back(device_, aligned(t.bytes()));
    t.data = owned_.back().data();
    fetch(stored, ctx.num_threads);
    convert(host, stored.reshaped({stored.numel()}), t.reshaped({t.numel()}));
    return t;
  }
  // Read from the file and converted by all cores while the piece before is on its way.
  t.data = device_weights_.tensor(dtype, {t.numel()}).data;
  const int64_t size = int64_t(dtype_size(dtype));
  const Tensor source = stored.reshaped({stored.numel()});
  write_to_device(ctx, t.data, t.bytes(), size_t(size), [&](void* piece, size_t begin, size_t bytes) {
    const int64_t count = int64_t(bytes) / size;
    const Tensor part = source.rows(int64_t(begin) / size, count);
    fetch(part, ctx.num_threads);
    convert(host, part, Tensor(piece, dtype, {count}));
  });
  return t;
}

void Model::pack_base(Packing packing, const std::string& cache, int threads) {
  check(!prepared_, "internal", "pack_base after prepare");
  check(packing == Packing::none || packed_.empty(), "request", shards_.front().path(), ": ",
        packed_.empty() ? "" : packed_.front().name, " is packed already, as ",
        packed_.empty() ? "" : packing_name(packed_.front().linear->packed.packing),
        ": expected a full checkpoint to pack as ", packing_name(packing));
  packing_ = packing;
  if (packing == Packing::none || cache.empty()) return;
  pack_cache_ = std::make_unique<PackCache>(cache, packing, shard_paths(), threads);
  notes_.push_back(pack_cache_->note());
}

Packing Model::stored_form() const {
  for (const PackedPlace& p : packed_)
    for (const DecoderLayer& layer : weights.layers)
      for (const Linear& linear : layer.linears)
        if (&linear == p.linear) return linear.packed.packing;
  return Packing::none;
}

// The linear that `placed` is the weight of, where it is to be packed.
Linear* Model::to_pack(const Placed& placed) {
  if (packing_ == Packing::none) return nullptr;
  for (DecoderLayer& layer : weights.layers)
    for (Linear& linear : layer.linears)
      if (&linear.weight == placed.slot) return &linear;
  return nullptr;
}

void Model::place_packed(Context& ctx, Linear& linear, const Placed& placed) {
  const Tensor stored = *placed.slot;
  const auto named = std::find_if(stored_names_.begin(), stored_names_.end(),
                                  [&](const StoredName& s) { return s.place == placed.slot; });
  // An adapter may have put another matrix in its place.
  const bool cached = pack_cache_ && named->stored.data == stored.data;
  linear.weight = Tensor();
  const size_t bytes = packed_bytes(packing_, stored.dim(0), stored.dim(1));
  if (ctx.measuring()) {
    void* const there = device_weights_.tensor(DType::u8, {int64_t(bytes)}).data;
    linear.packed = packed_layout(packing_, stored.dim(0), stored.dim(1), there);
    owned_bytes_ += bytes;
    return;
  }
  if (cached) linear.packed = pack_cache_->find(named->name, stored.dim(0), stored.dim(1));
  if (linear.packed) {
    if (device_ != Device::cpu) return upload_packed(ctx, linear.packed);
    mapped_bytes_ += linear.packed.bytes();
    return;
  }
  owned_.emplace_back(Device::cpu, bytes, /*zero=*/cached);
  linear.packed = pack_matrix(stored, packing_, owned_.back().data(), ctx.num_threads, named->name);
  if (cached) pack_cache_->add(named->name, linear.packed, owned_.back());
  if (placed.file) placed.file->drop(stored.data, stored.bytes());
  if (device_ == Device::cpu) {
    owned_bytes_ += bytes;
    return;
  }
  upload_packed(ctx, linear.packed);
  if (!pack_cache_) owned_.pop_back();  // else it is written first
}

void Model::upload_packed(Context& ctx, PackedWeight& w) {
  for (Tensor* part : {&w.codes, &w.scales, &w.book, &w.nested_scales, &w.nested_book}) {
    if (!*part) continue;
    const Tensor there = device_weights_.tensor(DType::u8, {int64_t(part->bytes())});
    copy_to_device(ctx, there.data, part->data, part->bytes());
    part->data = there.data;
    owned_bytes_ += part->bytes();
  }
  synchronize(ctx);
}

DType Model::placed_dtype(const Placed& placed) const {
  const DType stored = placed.slot->dtype;
  if (placed.slot == &weights.embed_tokens && folded_embedding_.data()) return DType::f32;
  const bool vector = placed.slot->rank == 1;
  if (!vector && (compute_ == DType::bf16 || device_ == Device::cuda)) return compute_;
  return placed.summed && stored == DType::f16 ? DType::f32 : stored;
}

void Model::prepare(Context& ctx) {
  if (prepared_) return;
  fold_embedding_adapters(ctx.num_threads);
  if (ctx.measuring()) {
    device_weights_ = Arena::measuring();
  } else if (device_ != Device::cpu) {
    size_t bytes = 0;
    for (const Placed& p : placed_)
      bytes += to_pack(p) ? packed_bytes(packing_, p.slot->dim(0), p.slot->dim(1))
                          : aligned(size_t(p.slot->numel()) * dtype_size(placed_dtype(p)));
    for (const PackedPlace& p : packed_) bytes += aligned_bytes(p.linear->packed);
    for_each_adapter_tensor([&](Tensor& t) { bytes += aligned(size_t(t.numel()) * dtype_size(compute_)); });
    const MemorySize memory = memory_size(device_);
    check(bytes <= memory.free, "memory", "the weights need ", gibibytes(bytes), " in ", dtype_name(compute_),
          ", the GPU has ", gibibytes(memory.free), " free of ", gibibytes(memory.total));
    device_weights_ = Arena(device_, bytes);
  }
  prepared_ = true;
  for (const PackedPlace& p : packed_) {
    if (device_ == Device::cpu) {
      mapped_bytes_ += p.linear->packed.bytes();
    } else {
      upload_packed(ctx, p.linear->packed);
    }
  }
  for (const Placed& p : placed_) {
    const Tensor stored = *p.slot;
    if (Linear* linear = to_pack(p)) {
      place_packed(ctx, *linear, p);
      continue;
    }
    const DType dtype = placed_dtype(p);
    if (device_ == Device::cpu && dtype == stored.dtype) {
      mapped_bytes_ += stored.bytes();
      continue;
    }
    *p.slot = place(ctx, stored, dtype);
    if (p.file) p.file->drop(stored.data, stored.bytes());
  }
  if (pack_cache_) {
    pack_cache_->write();
    if (device_ != Device::cpu) owned_.clear();
  }
  if (config.text.tie_word_embeddings) weights.lm_head.weight = weights.embed_tokens;
  for_each_adapter_tensor([&](Tensor& t) {
    if (device_ != Device::cpu || t.dtype != compute_) t = place(ctx, t, compute_);
  });
}

template <class Body>
void Model::for_each_adapter_tensor(Body body) {
  for (const LinearSpec& spec : tensors_.linears) {
    if (!spec.linear) continue;
    for (LoraPair& pair : spec.linear->adapters) {
      body(pair.a);
      body(pair.b);
    }
  }
}

}  // namespace vpref
