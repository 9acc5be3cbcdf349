// SPDX-License-Identifier: Apache-2.0
// Assigns the tensors of the files to the model's weights, by name. Checks each shape and dtype, and points each weight
// into its file.
#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "model/adapter_keys.h"
#include "model/load.h"

namespace vpref {

namespace {

// Buffers of old checkpoints that nothing reads.
bool ignorable(const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with("embeddings.position_ids");
}

// A tensor's path without the prefixes of training wrappers. LoRA tensors keep their names, because a model with LoRA
// tensors is incomplete without them.
std::string plain_name(const std::string& name) {
  std::string path = without_wrappers(name);
  if (path.starts_with(kPeftRoot)) path = without_wrappers(path.substr(kPeftRoot.size()));
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

// The linear layer with this weight, or null.
Linear* linear_of(const FamilyTensors& tensors, const TensorSpec& spec) {
  const auto found = std::find_if(tensors.linears.begin(), tensors.linears.end(),
                                  [&](const LinearSpec& l) { return l.linear && &l.linear->weight == spec.slot; });
  return found == tensors.linears.end() ? nullptr : found->linear;
}

}  // namespace

void Model::bind_tensors() {
  StoredIndex stored;
  std::string wrapped;
  for (const Safetensors& shard : shards_) {
    for (const auto& [name, t] : shard.tensors()) {
      const std::string path = plain_name(name);
      if (path != name) wrapped = name;
      const auto [at, fresh] = stored.emplace(path, NameInFile{&shard, name});
      check(fresh, "checkpoint", shard.path(), ": ", name, ": expected this tensor once, got it also in ",
            at->second.file->path(), at->second.name == name ? "" : cat(", as ", at->second.name));
    }
  }
  if (!wrapped.empty())
    notes_.push_back(cat(shards_.front().path(), ": names have prefixes of FSDP, DeepSpeed, torch.compile or peft: ",
                         wrapped, " is read as ", plain_name(wrapped)));
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

// Binds a weight that is packed in the file. Weights that the engine does not use are checked too.
void Model::bind_packed(const TensorSpec& spec, const std::string& path, StoredIndex& stored, size_t shard) {
  const std::string file = stored.at(path).file->path(), name = stored.at(path).name;
  Linear* linear = linear_of(tensors_, spec);
  check(linear || !spec.slot, "checkpoint", file, ": ", name,
        ": expected a weight that is not packed, got a packed one");
  check(spec.stored_shape.size() == 2, "checkpoint", file, ": ", name, ": expected a weight of shape ",
        shape_text(spec.stored_shape), ", got a packed matrix");
  const MappedFile& memory = stored.at(path).file->file();
  const PackedWeight weight = take_bitsandbytes(stored, path, spec.stored_shape);
  stored.erase(path);
  stored_names_.push_back({name, shard, spec.slot, linear, weight.codes, linear ? PackedWeight() : weight});
  if (!linear) return;
  linear->packed = weight;
  num_parameters_ += weight.numel();
  packed_.push_back({linear, name, &memory});
}

// If the files hold a tied head with other values than the embedding, it is not tied, whatever config.json says
// (transformers 5, tie_weights).
void Model::tie_or_untie() {
  if (!config.text.tie_word_embeddings) return;
  weights.lm_head.weight = weights.embed_tokens;
  const auto head = std::find_if(stored_names_.begin(), stored_names_.end(),
                                 [](const StoredName& s) { return s.name.ends_with("lm_head.weight"); });
  if (head == stored_names_.end()) return;
  head->place = &weights.lm_head.weight;
  head->linear = &weights.lm_head;
  const Tensor &copy = head->stored, &embedding = weights.embed_tokens;
  if (!head->carried && copy.dtype == embedding.dtype && std::memcmp(copy.data, embedding.data, copy.bytes()) == 0)
    return;
  const auto shard = std::next(shards_.begin(), ptrdiff_t(head->shard));
  if (head->carried) {
    config.text.tie_word_embeddings = false;
    weights.lm_head.weight = Tensor();
    weights.lm_head.packed = std::exchange(head->carried, {});
    packed_.push_back({&weights.lm_head, head->name, &shard->file()});
  } else {
    untie_head();
    point(weights.lm_head.weight, copy, *shard);
  }
  notes_.push_back(
      cat(shard->path(), ": ", head->name,
          " differs from the embedding: the head is not tied, in spite of tie_word_embeddings in config.json"));
}

}  // namespace vpref
