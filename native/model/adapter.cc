// SPDX-License-Identifier: Apache-2.0
// PEFT adapters: adapter_config.json and adapter_model.safetensors, in the key spellings of every transformers version.
#include <cmath>
#include <map>
#include <regex>
#include <set>

#include "core/error.h"
#include "model/json.h"
#include "model/load.h"

namespace vpref {

namespace {

constexpr const char* kRoot = "base_model.model.";

// Features that change what the weights mean. `off`: the value that means "not used".
void refuse_unsupported(const ConfigReader& c) {
  if (c.string("peft_type", "LORA") != "LORA") c.fail("peft_type", "\"LORA\"");
  for (const char* key : {"use_dora", "fan_in_fan_out", "lora_bias", "use_bdlora", "use_qalora", "alora_invocation_tokens"}) {
    const Json* j = c.raw(key);
    if (j && !(j->kind() == Json::Kind::boolean && !j->boolean())) c.fail(key, "false (not supported)");
  }
  if (c.string("bias", "none") != "none") c.fail("bias", "\"none\"");
  for (const char* key : {"layer_replication", "trainable_token_indices", "target_parameters"}) {
    const Json* j = c.raw(key);
    if (j && !(j->kind() == Json::Kind::array && j->array().empty())) c.fail(key, "none (not supported)");
  }
}

// rank_pattern and alpha_pattern: a key is a regular expression for the end of a module path, as in PEFT's get_pattern_key.
class Pattern {
 public:
  Pattern(const ConfigReader& config, const char* key) {
    const ConfigReader patterns = config.object(key);
    const Json* j = config.raw(key);
    if (!j) return;
    for (const auto& [pattern, value] : j->object()) {
      if (!value.is_number()) patterns.fail(pattern.c_str(), "a number");
      try {
        entries_.emplace_back(std::regex("(.*\\.)?(" + pattern + ")"), value.number());
      } catch (const std::regex_error&) {
        throw Error("config", cat(config.where(key), ": expected a regular expression, got ", json_quote(pattern)));
      }
    }
  }
  double of(const std::string& path, double fallback) const {
    for (const auto& [regex, value] : entries_) {
      if (std::regex_match(path, regex)) return value;
    }
    return fallback;
  }

 private:
  std::vector<std::pair<std::regex, double>> entries_;
};

// "X.lora_A.weight" or "X.lora_A.NAME.weight" -> X and 'A'; false for other keys.
bool split_lora(const std::string& key, std::string& path, char& side) {
  for (const char c : {'A', 'B'}) {
    const std::string mark = std::string(".lora_") + c + ".";
    const size_t at = key.find(mark);
    if (at == std::string::npos || !key.ends_with("weight")) continue;
    path = key.substr(0, at);
    side = c;
    return true;
  }
  return false;
}

// Every path under which a group's module may be addressed by an adapter, transformers' own trees before and after 4.52.
std::vector<std::string> adapter_prefixes(const std::string& model_type, const std::vector<std::string>& prefixes) {
  std::vector<std::string> all = prefixes;
  if (model_type == "llava") {
    for (const std::string& p : prefixes) all.push_back("model." + p);
  }
  return all;
}

}  // namespace

void Model::add_adapter(const std::string& dir) {
  check(!prepared_, "internal", "add_adapter after prepare");
  const std::string config_path = dir + "/adapter_config.json", weights_path = dir + "/adapter_model.safetensors";
  check(file_exists(config_path), "checkpoint", config_path, ": expected a file, got none (is this a PEFT adapter directory?)");
  check(file_exists(weights_path), "checkpoint", weights_path, ": expected a file, got none");
  const Json json = read_json_file(config_path);
  check(json.is_object(), "config", config_path, ": expected an object, got ", json.kind_name());
  const ConfigReader reader(json, config_path);
  refuse_unsupported(reader);
  const double alpha = reader.number("lora_alpha", 8);
  const int32_t default_rank = reader.integer("r", 8, 1, 1 << 20);
  const bool rslora = reader.boolean("use_rslora", false);
  const Pattern ranks(reader, "rank_pattern"), alphas(reader, "alpha_pattern");

  std::map<std::string, Linear*> linears;
  for (const LinearSpec& spec : tensors_.linears) {
    for (const std::string& p : adapter_prefixes(config.model_type, tensors_.groups[size_t(spec.group)].prefixes)) linears.emplace(p + spec.path, spec.linear);
  }
  std::map<std::string, const TensorSpec*> replaceable;
  for (const TensorSpec& spec : tensors_.tensors) {
    for (const std::string& p : adapter_prefixes(config.model_type, tensors_.groups[size_t(spec.group)].prefixes)) replaceable.emplace(p + spec.name, &spec);
  }

  shards_.emplace_back(weights_path);
  const Safetensors& file = shards_.back();
  check(!file.tensors().empty(), "checkpoint", weights_path, ": expected LoRA tensors, got none");
  struct Pair {
    Linear* linear;
    std::string path;
    Tensor a, b;
  };
  std::map<std::string, Pair> pairs;
  for (const auto& [key, stored] : file.tensors()) {
    const std::string name = key.starts_with(kRoot) ? key.substr(std::string_view(kRoot).size()) : key;
    std::string path;
    char side = 0;
    if (!split_lora(name, path, side)) {
      const auto found = replaceable.find(name);
      check(found != replaceable.end(), "checkpoint", weights_path, ": ", key, ": expected a tensor of this model, got an unknown name");
      const TensorSpec& spec = *found->second;
      check(stored.shape == spec.stored_shape && stored.dtype, "checkpoint", weights_path, ": ", key, ": expected the base tensor's shape");
      if (!spec.slot) continue;
      const Tensor old = *spec.slot;
      *spec.slot = file.view(key);
      spec.slot->rank = old.rank;
      spec.slot->shape = old.shape;
      spec.slot->stride = old.stride;
      for (Placed& p : placed_) {
        if (p.slot == spec.slot) p.file = &file.file();
      }
      continue;
    }
    const auto found = linears.find(path);
    check(found != linears.end(), "checkpoint", weights_path, ": ", key, ": expected a linear layer of this ", config.model_type, " model, got an unknown path");
    Pair& pair = pairs[path];
    pair.linear = found->second;
    pair.path = path;
    (side == 'A' ? pair.a : pair.b) = file.view(key);
  }
  for (auto& [path, pair] : pairs) {
    check(pair.a && pair.b, "checkpoint", weights_path, ": ", path, ": expected lora_A and lora_B, got one of them");
    if (!pair.linear) continue;  // a vision layer above the feature layer
    const int64_t n = pair.linear->weight.dim(0), k = pair.linear->weight.dim(1), r = pair.a.rank == 2 ? pair.a.dim(0) : 0;
    check(r > 0 && pair.a.dim(1) == k, "checkpoint", weights_path, ": ", path, ".lora_A: shape: expected [r, ", k, "], got ", shape_string(pair.a));
    check(pair.b.rank == 2 && pair.b.dim(0) == n && pair.b.dim(1) == r, "checkpoint", weights_path, ": ", path, ".lora_B: shape: expected [", n, ", ", r,
          "], got ", shape_string(pair.b));
    const double rank = ranks.of(path, default_rank);
    check(double(r) == rank, "checkpoint", weights_path, ": ", path, ".lora_A: rank: expected ", rank, " (adapter_config.json), got ", r);
    const double a = alphas.of(path, alpha);
    pair.linear->adapters.push_back({pair.a, pair.b, float(a / (rslora ? std::sqrt(double(r)) : double(r)))});
  }
  if (config.text.tie_word_embeddings) weights.lm_head.weight = weights.embed_tokens;
}

}  // namespace vpref
