// SPDX-License-Identifier: Apache-2.0
#include "model/adapter_config.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "core/error.h"

namespace vpref {

namespace {

// Keys that the engine reads.
constexpr const char* kRead[] = {"peft_type",
                                 "r",
                                 "lora_alpha",
                                 "rank_pattern",
                                 "alpha_pattern",
                                 "use_rslora",
                                 "target_modules",
                                 "exclude_modules",
                                 "layers_to_transform",
                                 "layers_pattern",
                                 "modules_to_save",
                                 "init_lora_weights",
                                 "bias"};
// Keys that do not change the meaning of the saved tensors: origin, training, initialisation. ensure_weight_tying: the
// file holds both tensors.
constexpr const char* kNoEffect[] = {
    "task_type",         "auto_mapping",   "peft_version",       "base_model_name_or_path",
    "revision",          "inference_mode", "lora_dropout",       "megatron_core",
    "loftq_config",      "eva_config",     "corda_config",       "lora_ga_config",
    "qalora_group_size", "runtime_config", "ensure_weight_tying"};

template <size_t N>
bool lists(const char* const (&names)[N], const std::string& name) {
  return std::any_of(std::begin(names), std::end(names), [&](const char* n) { return name == n; });
}

bool is_off(const Json& j) {
  switch (j.kind()) {
    case Json::Kind::null:
      return true;
    case Json::Kind::boolean:
      return !j.boolean();
    case Json::Kind::array:
      return j.array().empty();
    case Json::Kind::object:
      return j.object().empty();
    default:
      return false;
  }
}

std::string lower(std::string s) {
  for (char& c : s) c = char(std::tolower(static_cast<unsigned char>(c)));
  return s;
}

// These initialisations change only A and B, which the file holds. The others (pissa, olora, corda, lora_ga, loftq)
// also change the base weights.
void check_start(const ConfigReader& c) {
  const Json* j = c.raw("init_lora_weights");
  if (!j || j->kind() == Json::Kind::boolean) return;
  const std::string start = lower(c.string("init_lora_weights", ""));
  if (start == "gaussian" || start == "orthogonal" || start == "eva") return;
  c.fail("init_lora_weights",
         "true, false, \"gaussian\", \"orthogonal\" or \"eva\" (the others change the base weights too: save the "
         "adapter as plain LoRA with peft's "
         "save_pretrained(..., path_initial_model_for_weight_conversion=...))");
}

std::vector<std::string> strings(const ConfigReader& c, const char* key) {
  const Json* j = c.raw(key);
  std::vector<std::string> out;
  if (!j) return out;
  if (j->is_string()) return {j->string()};
  if (j->kind() != Json::Kind::array) c.fail(key, "a list of names");
  for (const Json& item : j->array()) {
    if (!item.is_string()) c.fail(key, "a list of names");
    out.push_back(item.string());
  }
  return out;
}

bool ends_path(const std::string& path, const std::string& end) { return path == end || path.ends_with("." + end); }

}  // namespace

ModulePattern::ModulePattern(const ConfigReader& config, const char* key) {
  const ConfigReader patterns = config.object(key);
  const Json* j = config.raw(key);
  if (!j) return;
  for (const auto& [pattern, value] : j->object()) {
    if (!value.is_number()) patterns.fail(pattern.c_str(), "a number");
    try {
      entries_.emplace_back(std::regex("(.*\\.)?(" + pattern + ")"), value.number());
    } catch (const std::regex_error&) {
      throw Error("config", cat(config.where(key), ": expected a regular expression, got ", json_quote(pattern)));
    }
  }
}

double ModulePattern::of(const ModuleName& module, double fallback) const {
  for (const std::string* path : {&module.current, &module.stored}) {
    for (const auto& [regex, value] : entries_) {
      if (std::regex_match(*path, regex)) return value;
    }
  }
  return fallback;
}

AdapterConfig::AdapterConfig(const ConfigReader& c)
    : default_rank_(c.integer("r", 8, 1, 1 << 20)),
      default_alpha_(c.number("lora_alpha", 8)),
      rslora_(c.boolean("use_rslora", false)),
      ranks_(c, "rank_pattern"),
      alphas_(c, "alpha_pattern") {
  if (c.string("peft_type", "LORA") != "LORA") c.fail("peft_type", "\"LORA\"");
  if (c.string("bias", "none") != "none") c.fail("bias", "\"none\"");
  check_start(c);
  for (const auto& [key, value] : c.members()) {
    if (!lists(kRead, key) && !lists(kNoEffect, key) && !is_off(value)) c.fail(key.c_str(), "none (not supported)");
  }
  targets_ = read_selection(c, "target_modules");
  excluded_ = read_selection(c, "exclude_modules");
  read_layers(c);
  modules_to_save_ = strings(c, "modules_to_save");
}

AdapterConfig::Selection AdapterConfig::read_selection(const ConfigReader& c, const char* key) {
  Selection s;
  const Json* j = c.raw(key);
  if (!j || is_off(*j)) return s;
  s.given = true;
  if (!j->is_string()) {
    s.ends = strings(c, key);
    return s;
  }
  if (std::string_view(key) == "target_modules" && lower(j->string()) == "all-linear") {
    all_linear_ = true;
    return s;
  }
  try {
    s.whole.emplace(j->string());
  } catch (const std::regex_error&) {
    unread_pattern_ = cat(c.where(key), ": ", json_quote(j->string()));
  }
  return s;
}

void AdapterConfig::read_layers(const ConfigReader& c) {
  layers_ = c.integers("layers_to_transform", {});
  for (const std::string& list : strings(c, "layers_pattern")) {
    try {
      layer_lists_.emplace_back("(?:.*?\\.)?" + list + "\\.(\\d+)\\..*");
    } catch (const std::regex_error&) {
      c.fail("layers_pattern", "a regular expression");
    }
  }
}

float AdapterConfig::scale(const ModuleName& module, int64_t rank) const {
  const double alpha = alphas_.of(module, default_alpha_);
  return float(alpha / (rslora_ ? std::sqrt(double(rank)) : double(rank)));
}

bool AdapterConfig::Selection::matches(const std::string& path) const {
  if (whole) return std::regex_match(path, *whole);
  return std::any_of(ends.begin(), ends.end(), [&](const std::string& end) { return ends_path(path, end); });
}

bool AdapterConfig::selects(const ModuleName& module) const {
  if (!unread_pattern_.empty()) return true;
  return selects(module.current) || selects(module.stored);
}

bool AdapterConfig::selects(const std::string& path) const {
  if (excluded_.given && excluded_.matches(path)) return false;
  if (saves(path)) return false;
  if (!targets_.given) return true;  // peft then takes the targets of the model's type
  if (all_linear_) return !ends_path(path, "lm_head");
  // peft filters by layer only if the targets are a list.
  return targets_.matches(path) && (targets_.whole || selects_layer(path));
}

// The first number of the path after the name of a layer list, as in peft's check_target_module_exists.
bool AdapterConfig::selects_layer(const std::string& path) const {
  if (layers_.empty()) return true;
  const auto has = [&](const std::string& text) {
    return text.size() < 9 && std::find(layers_.begin(), layers_.end(), std::stoi(text)) != layers_.end();
  };
  std::smatch found;
  if (layer_lists_.empty()) {
    static const std::regex first(".*?\\.[^.]*\\.(\\d+)\\..*");
    return std::regex_match(path, found, first) && has(found[1]);
  }
  for (const std::regex& list : layer_lists_) {
    if (std::regex_match(path, found, list)) return has(found[found.size() - 1]);
  }
  return false;
}

bool AdapterConfig::saves(const std::string& module) const {
  const std::string path = "." + module + ".";
  return std::any_of(modules_to_save_.begin(), modules_to_save_.end(),
                     [&](const std::string& name) { return path.find("." + name + ".") != std::string::npos; });
}

}  // namespace vpref
