// SPDX-License-Identifier: Apache-2.0
// Opens a checkpoint: config.json and the shards. bind_tensors.cc assigns tensors to weights; prepare.cc converts and
// uploads them.
#include "model/load.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "families/family.h"
#include "model/json.h"

namespace vpref {

namespace {

// Names of the weight files in `dir`: the shards of the index, or the single file. If both exist, the single file is
// read, as in transformers.
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
                         ": quantization_config: no weight is packed: weights are used as stored (transformers packs ",
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

}  // namespace vpref
