// SPDX-License-Identifier: Apache-2.0
// The table of families: one name each.
#include "core/error.h"
#include "families/family.h"

namespace vpref {

extern const Family idefics3_family, llama_family, llava_family, llava_next_family, smolvlm_family;

namespace {

constexpr const Family* kFamilies[] = {
    &idefics3_family, &llama_family, &llava_family, &llava_next_family, &smolvlm_family,
};

std::string names() {
  std::string text;
  for (const Family* f : kFamilies) text += cat(text.empty() ? "" : ", ", "\"", f->model_type, "\"");
  return text;
}

}  // namespace

const Family& find_family(const ConfigReader& config) {
  const std::string type = config.string("model_type", "");
  for (const Family* f : kFamilies) {
    if (type == f->model_type) return *f;
  }
  config.fail("model_type", cat("one of ", names()));
}

FamilyTensors set_up(const Family& family, const ConfigReader& reader, const ModelConfig& config, Weights& weights) {
  if (family.make_vision) weights.vision = family.make_vision(reader, config);
  FamilyTensors tensors = family.list_tensors(config, weights);
  if (weights.vision) weights.vision->list_tensors(tensors);
  return tensors;
}

}  // namespace vpref
