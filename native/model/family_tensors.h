// SPDX-License-Identifier: Apache-2.0
// Names of a family's tensors in checkpoints and in adapters.
#pragma once
#include <string>
#include <vector>

#include "model/model.h"

namespace vpref {

// A tensor of the model: its slot, its shape, and its name in a file, which is one of the group's `prefixes` + name.
struct TensorSpec {
  Tensor* slot;                       // null: checked but not used (vision layers above the feature layer)
  std::vector<int64_t> stored_shape;  // as in the file
  std::vector<int64_t> shape;         // as the model reads it (a convolution as a matrix)
  int group;                          // index into FamilyTensors::groups
  std::string name;                   // within the group, "layers.0.self_attn.q_proj.weight"
  bool optional = false;              // the file may omit it (a tied head)
  bool summed = false;                // an operand of add(), which does not accept f16
};

// A linear layer by its module path within a group, for adapters.
struct LinearSpec {
  Linear* linear;
  int group;
  std::string path;  // "layers.0.self_attn.q_proj"
};

// Spellings of a group's prefix, newest hub spelling first; a file uses one of them for all its tensors.
struct TensorGroup {
  std::vector<std::string> prefixes;
  std::string module;                      // in transformers' module tree since 4.52, which adapters use
  std::vector<std::string> other_modules;  // other spellings that peft 0.21 finds; it loads the rest without effect
};

// Removes from a module's path what FSDP, DDP, DeepSpeed and torch.compile add: "module." at the start, and segments
// such as "_fsdp_wrapped_module".
std::string without_wrappers(const std::string& path);

struct FamilyTensors {
  std::vector<TensorGroup> groups;
  std::vector<TensorSpec> tensors;
  std::vector<LinearSpec> linears;

  // Adds a group and returns its index.
  int add_group(TensorGroup group);
  void add(Tensor* slot, std::vector<int64_t> shape, int group, const std::string& name);
  // Adds weight and bias of one linear layer.
  void add_linear(Linear& linear, int64_t outputs, int64_t inputs, bool bias, int group, const std::string& path);
  // Marks everything added since these sizes (tensors.size() and linears.size()) as checked but not used.
  void leave_out_from(size_t first_tensor, size_t first_linear);
};

}  // namespace vpref
