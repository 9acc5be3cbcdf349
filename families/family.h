// SPDX-License-Identifier: Apache-2.0
// The native half of a model family's contract; families/README.md says how to add one. The other half is family.ts.
#pragma once
#include <memory>

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

// The family of a config.json's model_type. Throws Error{"config"} naming the supported ones.
const Family& find_family(const ConfigReader& config);

// Makes the tower of `weights`, which config points to, and lists every tensor of the model.
FamilyTensors set_up(const Family& family, const ConfigReader& reader, ModelConfig& config, Weights& weights);

}  // namespace vpref
