// SPDX-License-Identifier: Apache-2.0
// Packed weights of a model: made from stored matrices at load, or read from files that hold them.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/packed_weight.h"
#include "model/config_reader.h"
#include "model/safetensors.h"

namespace vpref {

// In the metadata of an adapter's file: what the linears that it was trained on were packed as at load.
constexpr const char* kTrainedOn = "vpref.trained_on";

// A stored [N, K] matrix, packed into `memory` (packed_bytes of it) by `threads` threads, which read it from its file
// as they go. Throws Error{"checkpoint"} naming `where` for a value that is not finite.
PackedWeight pack_matrix(const Tensor& stored, Packing packing, void* memory, int threads, const std::string& where);

// Where a tensor stands, by its plain name.
struct NameInFile {
  const Safetensors* file;
  std::string name;
};

// All shards' tensors, by their names without what FSDP, DeepSpeed, torch.compile or peft put around modules.
using StoredIndex = std::map<std::string, NameInFile>;

// bitsandbytes' 4-bit layout (QuantState.as_dict): `name`, a key of the index, holds codes, others of that name and a
// suffix their scales.
bool is_bitsandbytes(const StoredIndex& stored, const std::string& name);
// In place, as an [N, K] weight. What belongs to it, `name` apart, is taken out of `stored`. Throws Error{"checkpoint"}
// naming file and tensor.
PackedWeight take_bitsandbytes(StoredIndex& stored, const std::string& name, const std::vector<int64_t>& shape);

// Throws Error{"config"} unless `config` (config.json's top or text_config) has no quantization_config, or one of
// bitsandbytes' 4-bit.
void check_quantization(const ConfigReader& config);

}  // namespace vpref
