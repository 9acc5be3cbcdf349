// SPDX-License-Identifier: Apache-2.0
#include "model/family_tensors.h"

namespace vpref {

int FamilyTensors::add_group(TensorGroup group) {
  groups.push_back(std::move(group));
  return int(groups.size()) - 1;
}

void FamilyTensors::add(Tensor* slot, std::vector<int64_t> shape, int group, const std::string& name) {
  tensors.push_back({slot, shape, shape, group, name});
}

void FamilyTensors::add_linear(Linear& linear, int64_t outputs, int64_t inputs, bool bias, int group,
                               const std::string& path) {
  add(&linear.weight, {outputs, inputs}, group, path + ".weight");
  if (bias) add(&linear.bias, {outputs}, group, path + ".bias");
  linears.push_back({&linear, group, path});
}

void FamilyTensors::leave_out_from(size_t first_tensor, size_t first_linear) {
  for (size_t i = first_tensor; i < tensors.size(); ++i) {
    tensors[i].slot = nullptr;
    tensors[i].optional = true;
  }
  for (size_t i = first_linear; i < linears.size(); ++i) linears[i].linear = nullptr;
}

}  // namespace vpref
