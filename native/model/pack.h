// SPDX-License-Identifier: Apache-2.0
// Packed weights of a model: packed at load, or read from files that hold them.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/packed_weight.h"
#include "model/config_reader.h"
#include "model/safetensors.h"

namespace vpref {

// Metadata key of an adapter's file: the packing of the linears that it was trained on.
constexpr const char* kTrainedOn = "vpref.trained_on";

// Packs a stored [N, K] matrix into `memory` (packed_bytes of it) with `threads` threads, which read it from its file
// as they go. Throws Error{"checkpoint"} naming `where` for a value that is not finite.
PackedWeight pack_matrix(const Tensor& stored, Packing packing, void* memory, int threads, const std::string& where);

// The weight in the order of the CPU's kernels (core/interleaved_weight.h), in `memory` (interleaved_bytes of it).
PackedWeight interleaved(const PackedWeight& w, void* memory, int threads);

// A tensor's file and its name there.
struct NameInFile {
  const Safetensors* file;
  std::string name;
};

// The tensors of all shards, by their names without the prefixes of FSDP, DeepSpeed, torch.compile and peft.
using StoredIndex = std::map<std::string, NameInFile>;

// Whether `name`, a key of the index, holds codes in bitsandbytes' 4-bit layout (QuantState.as_dict): keys of that name
// and a suffix hold the scales.
bool is_bitsandbytes(const StoredIndex& stored, const std::string& name);
// Returns the [N, K] weight, in place in its file. Removes its parts from `stored`, except `name`. Throws
// Error{"checkpoint"} naming file and tensor.
PackedWeight take_bitsandbytes(StoredIndex& stored, const std::string& name, const std::vector<int64_t>& shape);

// Throws Error{"config"} if `config` (config.json's top or text_config) has a quantization_config other than
// bitsandbytes' 4-bit.
void check_quantization(const ConfigReader& config);

}  // namespace vpref
