// SPDX-License-Identifier: Apache-2.0
#include "model/family_tensors.h"

#include <string_view>

namespace vpref {

std::string without_wrappers(const std::string& path) {
  constexpr std::string_view kLeading = "module.";
  constexpr const char* kSegments[] = {"_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod."};
  std::string out = path;
  for (const char* segment : kSegments) {
    const std::string_view text(segment);
    for (size_t at = out.find(text); at != std::string::npos; at = out.find(text, at)) {
      if (at == 0 || out[at - 1] == '.') {
        out.erase(at, text.size());
      } else {
        ++at;
      }
    }
  }
  while (out.starts_with(kLeading)) out.erase(0, kLeading.size());
  return out;
}

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
