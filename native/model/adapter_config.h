// SPDX-License-Identifier: Apache-2.0
// adapter_config.json of a PEFT LoRA adapter, read as peft 0.21 reads it. Unsupported settings are refused by name.
#pragma once
#include <optional>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "model/config_reader.h"

namespace vpref {

// A module's name in current transformers, and its name in the adapter's file.
struct ModuleName {
  std::string current;
  std::string stored;
};

// rank_pattern and alpha_pattern: a key is a regular expression for the end of a module path (peft utils/other.py
// get_pattern_key).
class ModulePattern {
 public:
  ModulePattern(const ConfigReader& config, const char* key);
  double of(const ModuleName& module, double fallback) const;

 private:
  std::vector<std::pair<std::regex, double>> entries_;
};

class AdapterConfig {
 public:
  // Throws Error{"config"} naming an unsupported setting that changes the meaning of the tensors.
  explicit AdapterConfig(const ConfigReader& config);

  double rank(const ModuleName& module) const { return ranks_.of(module, default_rank_); }
  // alpha / r, or alpha / sqrt(r) with use_rslora.
  float scale(const ModuleName& module, int64_t rank) const;
  // Whether peft puts LoRA on this module: target_modules, exclude_modules, layers_to_transform, layers_pattern.
  bool selects(const ModuleName& module) const;
  // Whether the module, or a module that contains it, is saved whole (modules_to_save).
  bool saves(const std::string& module) const;
  const std::vector<std::string>& modules_to_save() const { return modules_to_save_; }
  // A Python regular expression that the engine cannot evaluate; selects() then accepts every module. Empty otherwise.
  const std::string& unread_pattern() const { return unread_pattern_; }

 private:
  // target_modules or exclude_modules: one regular expression for the whole path, or a list of path endings.
  struct Selection {
    bool given = false;
    std::optional<std::regex> whole;
    std::vector<std::string> ends;
    bool matches(const std::string& path) const;
  };
  Selection read_selection(const ConfigReader& config, const char* key);
  void read_layers(const ConfigReader& config);
  bool selects(const std::string& path) const;
  bool selects_layer(const std::string& path) const;

  int32_t default_rank_;
  double default_alpha_;
  bool rslora_;
  ModulePattern ranks_, alphas_;
  Selection targets_, excluded_;
  bool all_linear_ = false;
  std::vector<int32_t> layers_;
  std::vector<std::regex> layer_lists_;
  std::vector<std::string> modules_to_save_;
  std::string unread_pattern_;
};

}  // namespace vpref
