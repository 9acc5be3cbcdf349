// SPDX-License-Identifier: Apache-2.0
// Under which names a family's tensors stand in the files, and in adapters.
#pragma once
#include <string>
#include <vector>

#include "model/model.h"

namespace vpref {

// A tensor the model needs: its place, its shape, and where it stands in a file: one of `prefixes` + name.
struct TensorSpec {
  Tensor* slot;                       // null: known, checked and not used (vision layers above the feature layer)
  std::vector<int64_t> stored_shape;  // as in the file
  std::vector<int64_t> shape;         // as the model reads it (a convolution as a matrix)
  int group;                          // index into FamilyTensors::groups
  std::string name;                   // within the group, "layers.0.self_attn.q_proj.weight"
  bool optional = false;              // a tied head may stand in the file or not
  bool summed = false;                // an operand of add(), which takes no f16
};

// A linear layer by its module path within a group, for adapters.
struct LinearSpec {
  Linear* linear;
  int group;
  std::string path;  // "layers.0.self_attn.q_proj"
};

// Spellings of a group's prefix, newest hub spelling first; a file uses one of them throughout.
struct TensorGroup {
  std::vector<std::string> prefixes;
  std::string module;                      // in transformers' module tree since 4.52, which adapters use
  std::vector<std::string> other_modules;  // spellings that peft 0.21 finds too; it loads others without effect
};

// A module's path without what FSDP, DDP, DeepSpeed and torch.compile put into it: "module." at the start, and segments
// such as "_fsdp_wrapped_module".
std::string without_wrappers(const std::string& path);

struct FamilyTensors {
  std::vector<TensorGroup> groups;
  std::vector<TensorSpec> tensors;
  std::vector<LinearSpec> linears;

  // The index of the new group.
  int add_group(TensorGroup group);
  void add(Tensor* slot, std::vector<int64_t> shape, int group, const std::string& name);
  // Weight and bias of one linear layer.
  void add_linear(Linear& linear, int64_t outputs, int64_t inputs, bool bias, int group, const std::string& path);
  // What was added since then (tensors.size() and linears.size() before) is known and checked, and not used.
  void leave_out_from(size_t first_tensor, size_t first_linear);
};

}  // namespace vpref
