// SPDX-License-Identifier: Apache-2.0
// Parsing of the keys of an adapter's file, in the spellings of every version of transformers and peft.
#pragma once
#include <map>
#include <string>
#include <string_view>

#include "model/family_tensors.h"

namespace vpref {

// The root of module paths in peft's files.
inline constexpr std::string_view kPeftRoot = "base_model.model.";

// A parsed key.
struct KeyParts {
  enum class Kind { lora_a, lora_b, embedding_a, embedding_b, base, saved };
  Kind kind = Kind::saved;
  std::string path;  // LoRA: path of the module; otherwise: path of the tensor. As stored, without the root
};

// "X.lora_A.weight" and "X.lora_A.NAME.weight", "X.lora_embedding_A" and "X.lora_embedding_A.NAME",
// "X.base_layer.weight", or a tensor's own name.
KeyParts split_key(const std::string& name);

// Looks up a family's linears and tensors by any spelling of their names.
class ModuleIndex {
 public:
  struct Found {
    std::string name;  // in transformers' module tree
    bool usual;        // peft finds this spelling too
    const LinearSpec* linear;
    const TensorSpec* tensor;
  };
  explicit ModuleIndex(const FamilyTensors& family);
  const Found* find(const std::string& path) const;

 private:
  void add(const TensorGroup& group, const std::string& name, const LinearSpec* linear, const TensorSpec* tensor);
  std::map<std::string, Found> names_;
};

}  // namespace vpref
