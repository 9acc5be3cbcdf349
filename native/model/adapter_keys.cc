// SPDX-License-Identifier: Apache-2.0
#include "model/adapter_keys.h"

namespace vpref {

KeyParts split_key(const std::string& name) {
  using Kind = KeyParts::Kind;
  constexpr struct {
    const char* mark;
    Kind kind;
  } kMarks[] = {{".lora_A.", Kind::lora_a},
                {".lora_B.", Kind::lora_b},
                {".lora_embedding_A", Kind::embedding_a},
                {".lora_embedding_B", Kind::embedding_b}};
  for (const auto& [mark, kind] : kMarks) {
    const size_t at = name.find(mark);
    if (at == std::string::npos) continue;
    const bool matrix = kind == Kind::lora_a || kind == Kind::lora_b;
    if (!matrix || name.ends_with("weight")) return {kind, name.substr(0, at)};
  }
  constexpr std::string_view kBase = ".base_layer.";
  if (const size_t at = name.find(kBase); at != std::string::npos)
    return {Kind::base, name.substr(0, at) + "." + name.substr(at + kBase.size())};
  return {Kind::saved, name};
}

ModuleIndex::ModuleIndex(const FamilyTensors& family) {
  for (const LinearSpec& spec : family.linears) add(family.groups[size_t(spec.group)], spec.path, &spec, nullptr);
  for (const TensorSpec& spec : family.tensors) add(family.groups[size_t(spec.group)], spec.name, nullptr, &spec);
}

const ModuleIndex::Found* ModuleIndex::find(const std::string& path) const {
  const auto found = names_.find(path);
  return found == names_.end() ? nullptr : &found->second;
}

void ModuleIndex::add(const TensorGroup& group, const std::string& name, const LinearSpec* linear,
                      const TensorSpec* tensor) {
  const auto put = [&](const std::string& prefix, bool usual) {
    names_.emplace(prefix + name, Found{group.module + name, usual, linear, tensor});
  };
  put(group.module, true);
  for (const std::string& prefix : group.other_modules) put(prefix, true);
  for (const std::string& prefix : group.prefixes) {
    put(prefix, false);
    put("model." + prefix, false);
  }
}

}  // namespace vpref
