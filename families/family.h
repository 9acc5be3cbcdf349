// SPDX-License-Identifier: Apache-2.0
// The native half of a model family's contract; family.ts is the other half. families/README.md explains how to add a
// family.
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

// The ids that a family's class uses if config.json has none.
struct IdDefaults {
  std::vector<int32_t> eos;
  int32_t bos;
  int32_t image = -1;
};

// Makes a text-only model of the decoder, with the ids of its config.json.
ModelConfig text_model(const char* model_type, TextConfig text, const ConfigReader& config, const IdDefaults& defaults);
// Makes `c` a model with images: reads image, end and begin ids from config.json, the last two by default from `text`,
// its text_config. Throws Error{"config"}, also for a quantised checkpoint.
void read_vision_model(const ConfigReader& config, const ConfigReader& text, const IdDefaults& defaults,
                       ModelConfig& c);

// The family of a config.json's model_type. Throws Error{"config"} naming the supported ones.
const Family& find_family(const ConfigReader& config);

// Creates the tower in `weights`, points config to it, and lists every tensor of the model.
FamilyTensors set_up(const Family& family, const ConfigReader& reader, ModelConfig& config, Weights& weights);

}  // namespace vpref
