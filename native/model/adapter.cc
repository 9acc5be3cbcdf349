// SPDX-License-Identifier: Apache-2.0
// PEFT adapters: adapter_config.json and adapter_model.safetensors, in the key spellings of every transformers version.
#include <algorithm>
#include <map>

#include "core/error.h"
#include "model/adapter_config.h"
#include "model/adapter_keys.h"
#include "model/json.h"
#include "model/load.h"
#include "ops/elementwise.h"
#include "ops/gemm.h"

namespace vpref {

// One adapter on its way into a model: every tensor is checked and put where it acts.
class AdapterLoader {
 public:
  AdapterLoader(Model& model, const AdapterConfig& config, const Safetensors& file, LoadedAdapter& out)
      : model_(model), config_(config), file_(file), out_(out), index_(model.tensors_) {}

  void load() {
    check(!file_.tensors().empty(), "checkpoint", file_.path(), ": expected LoRA tensors, got none");
    for (const auto& [key, stored] : file_.tensors()) take(key, stored);
    for (const std::string& module : config_.modules_to_save()) check_saved(module);
    // Copies of base weights come before the LoRA pairs on them.
    for (const auto& [name, saved] : saved_) {
      if (saved.in_place) replace(name, saved);
    }
    for (const auto& [name, saved] : saved_) {
      if (!saved.in_place) replace(name, saved);
    }
    for (const auto& [path, pair] : pairs_) add_pair(path, pair);
    if (odd_spellings_ > 0) {
      out_.notes.push_back(cat(file_.path(), ": ", odd_spellings_, odd_spellings_ == 1 ? " name is" : " names are",
                               " spelled as other versions do: ", odd_example_,
                               " (peft may load such names without effect)"));
    }
    if (!config_.unread_pattern().empty()) {
      out_.notes.push_back(cat(config_.unread_pattern(),
                               ": this regular expression is not supported; every tensor of the adapter is used"));
    }
  }

 private:
  using Kind = KeyParts::Kind;
  struct Pair {
    const LinearSpec* spec = nullptr;
    bool embedding = false;
    ModuleName module;
    std::string key_a, key_b;
  };
  struct Saved {
    std::string key;
    const TensorSpec* spec;
    bool in_place;  // written into the base weight itself, which a tied head shares
  };

  void take(const std::string& key, const StoredTensor& stored) {
    const std::string path = without_wrappers(key);
    const bool rooted = path.starts_with(kPeftRoot);
    const std::string below = rooted ? path.substr(kPeftRoot.size()) : path;
    const KeyParts parts = split_key(without_wrappers(below));
    const bool embedding = parts.kind == Kind::embedding_a || parts.kind == Kind::embedding_b;
    const bool lora = embedding || parts.kind == Kind::lora_a || parts.kind == Kind::lora_b;
    const ModuleIndex::Found* found = index_.find(embedding ? parts.path + ".weight" : parts.path);
    check(found && (!lora || embedding || found->linear) && (lora || found->tensor), "checkpoint", file_.path(), ": ",
          key, ": expected ", lora ? "a linear layer" : "a tensor", " of this ", model_.config.model_type,
          " model, got an unknown ", lora ? "path" : "name");
    check(stored.dtype && is_float(*stored.dtype), "checkpoint", file_.path(), ": ", key,
          ": dtype: expected F32, BF16 or F16, got ", stored.dtype_name);
    if (!rooted || !found->usual || path != key || without_wrappers(below) != below) {
      if (odd_spellings_++ == 0) odd_example_ = cat(key, " is read as ", found->name);
    }
    if (!lora) {
      const std::string module = found->name.substr(0, found->name.rfind('.'));
      const bool fresh =
          saved_.emplace(found->name, Saved{key, found->tensor, parts.kind == Kind::base || !config_.saves(module)})
              .second;
      check(fresh, "checkpoint", file_.path(), ": ", key,
            ": expected this tensor once, got it also under another spelling");
      return;
    }
    if (embedding) {
      check(found->tensor && found->tensor->slot == &model_.weights.embed_tokens, "checkpoint", file_.path(), ": ", key,
            ": expected the embedding of tokens");
    }
    const std::string name = embedding ? found->name.substr(0, found->name.rfind('.')) : found->name;
    Pair& pair = pairs_[name];
    pair.spec = found->linear;
    pair.embedding = embedding;
    pair.module = {name, parts.path};
    std::string& side = parts.kind == Kind::lora_a || parts.kind == Kind::embedding_a ? pair.key_a : pair.key_b;
    check(side.empty(), "checkpoint", file_.path(), ": ", key, ": expected this tensor once, got it also as ", side);
    side = key;
  }

  void check_saved(const std::string& module) const {
    const bool found = std::any_of(saved_.begin(), saved_.end(), [&](const auto& s) {
      return ("." + s.first).find("." + module + ".") != std::string::npos;
    });
    check(found, "checkpoint", file_.path(), ": modules_to_save: expected the tensors of ", module, ", got none");
  }

  void replace(const std::string& name, const Saved& saved) {
    const TensorSpec& spec = *saved.spec;
    const StoredTensor& stored = file_.tensors().at(saved.key);
    const bool embedding = spec.slot == &model_.weights.embed_tokens, head = spec.name == "lm_head.weight";
    if ((embedding || head) && stored.shape.size() == 2 && stored.shape[1] == spec.stored_shape[1]) {
      check(stored.shape[0] == spec.stored_shape[0], "checkpoint", file_.path(), ": ", saved.key, ": expected ",
            spec.stored_shape[0], " rows, the vocabulary of this base model, got ", stored.shape[0],
            ": the adapter was saved after resize_token_embeddings; give a base model that was resized and saved "
            "alike, with its tokenizer");
    }
    check(stored.shape == spec.stored_shape, "checkpoint", file_.path(), ": ", saved.key, ": shape: expected ",
          shape_text(spec.stored_shape), " as the base tensor, got ", shape_text(stored.shape));
    const std::string module = name.substr(0, name.rfind('.'));
    check(!pairs_.contains(module) || saved.key.find(".base_layer.") != std::string::npos, "checkpoint", file_.path(),
          ": ", saved.key, ": expected no copy of a tensor that has LoRA too");
    out_.others.push_back({saved.key, name, spec.slot});
    if (model_.config.text.tie_word_embeddings && (embedding || head)) {
      if (saved.in_place) {
        model_.point(model_.weights.embed_tokens, file_.view(saved.key), file_);
        return;
      }
      model_.untie_head();
      if (head) return model_.point(model_.weights.lm_head.weight, file_.view(saved.key), file_);
    }
    // The spec has no slot for a head that config.json ties, though the files or an adapter have untied it.
    Tensor* const slot = head ? &model_.weights.lm_head.weight : spec.slot;
    if (!slot) return;
    const bool packed = std::any_of(model_.packed_.begin(), model_.packed_.end(),
                                    [&](const auto& p) { return &p.linear->weight == slot; });
    check(!packed, "checkpoint", file_.path(), ": ", saved.key,
          ": expected no copy of a weight that is packed in the base model");
    model_.point(*slot, file_.view(saved.key), file_);
  }

  void add_pair(const std::string& path, const Pair& pair) {
    const char* a_name = pair.embedding ? ".lora_embedding_A" : ".lora_A";
    const char* b_name = pair.embedding ? ".lora_embedding_B" : ".lora_B";
    check(!pair.key_a.empty() && !pair.key_b.empty(), "checkpoint", file_.path(), ": ", path, ": expected ", a_name + 1,
          " and ", b_name + 1, ", got one of them");
    check(config_.selects(pair.module), "checkpoint", file_.path(), ": ", pair.key_a,
          ": expected only modules that adapter_config.json selects (target_modules, exclude_modules, "
          "layers_to_transform, modules_to_save)");
    const Tensor a = file_.view(pair.key_a), b = file_.view(pair.key_b);
    const int64_t r = a.rank == 2 ? a.dim(0) : 0;
    const auto add_others = [&] {
      out_.others.push_back({pair.key_a, path + a_name + (pair.embedding ? "" : ".weight"), nullptr});
      out_.others.push_back({pair.key_b, path + b_name + (pair.embedding ? "" : ".weight"), nullptr});
    };
    if (!pair.embedding && !pair.spec->linear) return add_others();  // a vision layer above the feature layer
    const Tensor& embedding = model_.weights.embed_tokens;
    const int64_t n = pair.embedding ? embedding.dim(1) : pair.spec->linear->outputs();
    const int64_t k = pair.embedding ? embedding.dim(0) : pair.spec->linear->inputs();
    check(r > 0 && a.dim(1) == k, "checkpoint", file_.path(), ": ", path, a_name, ": shape: expected [r, ", k,
          "], got ", a);
    check(b.rank == 2 && b.dim(0) == n && b.dim(1) == r, "checkpoint", file_.path(), ": ", path, b_name,
          ": shape: expected [", n, ", ", r, "], got ", b);
    const double rank = config_.rank(pair.module);
    check(double(r) == rank, "checkpoint", file_.path(), ": ", path, a_name, ": rank: expected ", rank,
          " (adapter_config.json), got ", r);
    const LoraPair lora{a, b, config_.scale(pair.module, r)};
    if (pair.embedding) {
      model_.untie_head();  // peft leaves the head's own weight as it is
      model_.embedding_adapters_.push_back(lora);
      add_others();
      return;
    }
    out_.loras.push_back({pair.spec->linear, path, pair.key_a, pair.key_b});
    pair.spec->linear->adapters.push_back(lora);
  }

  Model& model_;
  const AdapterConfig& config_;
  const Safetensors& file_;
  LoadedAdapter& out_;
  ModuleIndex index_;
  std::map<std::string, Pair> pairs_;   // by module
  std::map<std::string, Saved> saved_;  // by tensor
  int64_t odd_spellings_ = 0;
  std::string odd_example_;
};

void Model::add_adapter(const std::string& dir) {
  check(!prepared_, "internal", "add_adapter after prepare");
  const std::string config_path = dir + "/adapter_config.json", weights_path = dir + "/adapter_model.safetensors";
  check(file_exists(config_path), "checkpoint", config_path,
        ": expected a file, got none (is this a PEFT adapter directory?)");
  check(file_exists(weights_path), "checkpoint", weights_path, ": expected a file, got none");
  const Json json = read_json_file(config_path);
  check(json.is_object(), "config", config_path, ": expected an object, got ", json.kind_name());
  const AdapterConfig adapter_config(ConfigReader(json, config_path));
  shards_.emplace_back(weights_path);
  adapters_.push_back({.dir = dir, .file = &shards_.back()});
  AdapterLoader(*this, adapter_config, shards_.back(), adapters_.back()).load();
  note_form(adapters_.back());
  if (config.text.tie_word_embeddings) weights.lm_head.weight = weights.embed_tokens;
}

// Base and adapter fit, so the numbers are right for what was asked; they are not those of the training.
void Model::note_form(LoadedAdapter& adapter) const {
  const auto said = adapter.file->metadata().find(kTrainedOn);
  if (said == adapter.file->metadata().end() || said->second == packing_name(form())) return;
  const auto base = [](const std::string& name) { return name == "none" ? "full" : name; };
  adapter.notes.push_back(cat(adapter.dir, ": trained on the ", base(said->second), " base, used on the ",
                              base(packing_name(form())), " one: what it learned is shifted by the difference"));
}

// A slot reads `value` of `file` from now on, in the shape it has.
void Model::point(Tensor& slot, const Tensor& value, const Safetensors& file) {
  const Tensor old = slot;
  slot = value;
  slot.rank = old.rank;
  slot.shape = old.shape;
  slot.stride = old.stride;
  for (Placed& p : placed_) {
    if (p.slot == &slot) p.file = &file.file();
  }
}

void Model::untie_head() {
  if (!config.text.tie_word_embeddings) return;
  config.text.tie_word_embeddings = false;
  weights.lm_head.weight = weights.embed_tokens;
  const auto of_embedding = [&](const auto& at) { return at == &weights.embed_tokens; };
  const auto placed =
      std::find_if(placed_.begin(), placed_.end(), [&](const Placed& p) { return of_embedding(p.slot); });
  if (!prepared_) placed_.push_back({&weights.lm_head.weight, placed->file, /*summed=*/false});
  // tie_or_untie() has seen to a head in the files.
  if (std::any_of(stored_names_.begin(), stored_names_.end(),
                  [](const StoredName& s) { return s.name.ends_with("lm_head.weight"); }))
    return;
  const StoredName& embedding = *std::find_if(stored_names_.begin(), stored_names_.end(),
                                              [&](const StoredName& s) { return of_embedding(s.place); });
  // Beside the decoder in the spelling that has it below language_model, else at the top.
  const std::string& name = embedding.name;
  const std::string prefix = name.starts_with("language_model.model.") ? "language_model." : "";
  stored_names_.push_back(
      {prefix + "lm_head.weight", embedding.shard, &weights.lm_head.weight, &weights.lm_head, embedding.stored});
}

// LoRA on the embedding is a table in f32 of its own: in 16 bits most of a small delta would be lost.
void Model::fold_embedding_adapters(int threads) {
  if (embedding_adapters_.empty()) return;
  Context host(Device::cpu, threads);
  const Tensor stored = weights.embed_tokens;
  folded_embedding_ = Buffer(Device::cpu, aligned(size_t(stored.numel()) * sizeof(float)));
  const Tensor table(folded_embedding_.data(), DType::f32, {stored.dim(0), stored.dim(1)});
  convert(host, stored, table);
  for (const LoraPair& pair : embedding_adapters_) {
    Buffer memory[2];
    const auto f32 = [&](Buffer& buffer, const Tensor& t) {
      buffer = Buffer(Device::cpu, aligned(size_t(t.numel()) * sizeof(float)));
      const Tensor to(buffer.data(), DType::f32, {t.dim(0), t.dim(1)});
      convert(host, t, to);
      return to;
    };
    gemm(host, transposed(f32(memory[0], pair.a)), transposed(f32(memory[1], pair.b)), table, pair.scale, 1.0f);
  }
  weights.embed_tokens = table;
  for (Placed& p : placed_) {
    if (p.slot == &weights.embed_tokens) p.file = nullptr;
  }
}

}  // namespace vpref
