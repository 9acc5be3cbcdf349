// SPDX-License-Identifier: Apache-2.0
#include "model/families/family.h"

#include "core/error.h"

namespace vpref {

const Family& find_family(const ConfigReader& config) {
  constexpr const Family* families[] = {&llava_family, &llama_family};
  const std::string type = config.string("model_type", "");
  for (const Family* f : families) {
    if (type == f->model_type) return *f;
  }
  config.fail("model_type", "\"llava\" or \"llama\"");
}

void list_linear(Linear& linear, int64_t outputs, int64_t inputs, bool bias, int group, const std::string& path,
                 FamilyTensors& out) {
  out.tensors.push_back({&linear.weight, {outputs, inputs}, {outputs, inputs}, group, path + ".weight"});
  if (bias) out.tensors.push_back({&linear.bias, {outputs}, {outputs}, group, path + ".bias"});
  out.linears.push_back({&linear, group, path});
}

}  // namespace vpref
