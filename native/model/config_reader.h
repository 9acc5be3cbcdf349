// SPDX-License-Identifier: Apache-2.0
// Typed access to config.json. Every error names file and key, and what was expected.
#pragma once
#include <string>
#include <vector>

#include "model/json.h"

namespace vpref {

// One object of a configuration file, with its path ("config.json: text_config").
class ConfigReader {
 public:
  ConfigReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}
  bool has(const char* key) const;  // present and not null
  bool has_null(const char* key) const;
  // The value, or `fallback` if the key is absent or null. Throws Error{"config"} for another type or a value out of
  // range.
  int32_t integer(const char* key, int64_t fallback, int64_t low, int64_t high) const;
  double number(const char* key, double fallback) const;  // finite
  bool boolean(const char* key, bool fallback) const;
  std::string string(const char* key, const char* fallback) const;
  std::vector<std::string> strings(const char* key) const;  // an array of strings; [] if absent or null
  std::vector<int32_t> integers(const char* key,
                                std::vector<int32_t> fallback) const;  // one number or an array of numbers
  ConfigReader object(const char* key) const;                          // an absent key reads as {}
  const Json* raw(const char* key) const;
  const std::vector<Json::Member>& members() const { return object_.object(); }
  [[noreturn]] void fail(const char* key, const std::string& expected) const;  // "WHERE: key: expected X, got Y"
  std::string where(const char* key) const { return where_ + ": " + key; }

 private:
  const Json& object_;
  std::string where_;
};

}  // namespace vpref
