// SPDX-License-Identifier: Apache-2.0
// The native half of a model family's contract; families/README.md says how to add one. The other half is family.ts.
#pragma once
#include <memory>
#include <vector>

#include "model/config_reader.h"
#include "model/family_tensors.h"
#include "model/model.h"
#include "model/vision.h"

namespace vpref {

struct Family {
  const char* model_type;
  // Throws Error{"config"} naming the key.
  ModelConfig (*parse_config)(const ConfigReader& config);
  // The tower, without weights yet; null for a text family. Throws as parse_config does.
  std::unique_ptr<Vision> (*make_vision)(const ConfigReader& config, const ModelConfig& parsed);
  // Lists the decoder's tensors and sizes weights.layers; the tower lists its own.
  FamilyTensors (*list_tensors)(const ModelConfig& config, Weights& weights);
};

// What a family's class takes where config.json names no ids.
struct IdDefaults {
  std::vector<int32_t> eos;
  int32_t bos;
  int32_t image = -1;
};

// A text-only model of that decoder, with the ids of its config.json.
ModelConfig text_model(const char* model_type, TextConfig text, const ConfigReader& config, const IdDefaults& defaults);
// Makes `c` a model with images: image, end and begin ids of config.json, the last two else of `text`, its text_config.
// Throws Error{"config"} also for a quantised checkpoint.
void read_vision_model(const ConfigReader& config, const ConfigReader& text, const IdDefaults& defaults,
                       ModelConfig& c);

// The family of a config.json's model_type. Throws Error{"config"} naming the supported ones.
const Family& find_family(const ConfigReader& config);

// Makes the tower of `weights`, which config points to, and lists every tensor of the model.
FamilyTensors set_up(const Family& family, const ConfigReader& reader, ModelConfig& config, Weights& weights);

}  // namespace vpref
