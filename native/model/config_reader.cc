// SPDX-License-Identifier: Apache-2.0
#include "model/config_reader.h"

#include <cmath>

#include "core/error.h"

namespace vpref {

namespace {

std::string shown(const Json* j) {
  if (!j) return "none";
  switch (j->kind()) {
    case Json::Kind::boolean:
      return j->boolean() ? "true" : "false";
    case Json::Kind::number:
      return cat(j->number());
    case Json::Kind::string:
      return json_quote(j->string());
    default:
      return j->kind_name();
  }
}

const Json& empty_object() {
  static const Json empty = Json::parse("{}", "");
  return empty;
}

}  // namespace

const Json* ConfigReader::raw(const char* key) const {
  const Json* j = object_.find(key);
  return j && !j->is_null() ? j : nullptr;
}

bool ConfigReader::has(const char* key) const { return raw(key) != nullptr; }

bool ConfigReader::has_null(const char* key) const {
  const Json* j = object_.find(key);
  return j && j->is_null();
}

void ConfigReader::fail(const char* key, const std::string& expected) const {
  throw Error("config", cat(where(key), ": expected ", expected, ", got ", shown(raw(key))));
}

int32_t ConfigReader::integer(const char* key, int64_t fallback, int64_t low, int64_t high) const {
  const Json* j = raw(key);
  if (!j) return int32_t(fallback);
  if (!j->is_integer() || j->integer() < low || j->integer() > high)
    fail(key, cat("a whole number in ", low, "..", high));
  return int32_t(j->integer());
}

double ConfigReader::number(const char* key, double fallback) const {
  const Json* j = raw(key);
  if (!j) return fallback;
  if (!j->is_number() || !std::isfinite(j->number())) fail(key, "a number");
  return j->number();
}

bool ConfigReader::boolean(const char* key, bool fallback) const {
  const Json* j = raw(key);
  if (!j) return fallback;
  if (j->kind() != Json::Kind::boolean) fail(key, "true or false");
  return j->boolean();
}

std::string ConfigReader::string(const char* key, const char* fallback) const {
  const Json* j = raw(key);
  if (!j) return fallback;
  if (!j->is_string()) fail(key, "a string");
  return j->string();
}

std::vector<std::string> ConfigReader::strings(const char* key) const {
  std::vector<std::string> values;
  const Json* j = raw(key);
  if (!j) return values;
  if (j->kind() != Json::Kind::array) fail(key, "an array of strings");
  for (const Json& v : j->array()) {
    if (!v.is_string()) fail(key, "an array of strings");
    values.push_back(v.string());
  }
  return values;
}

std::vector<int32_t> ConfigReader::integers(const char* key, std::vector<int32_t> fallback) const {
  const Json* j = raw(key);
  if (!j) return fallback;
  std::vector<int32_t> values;
  const auto take = [&](const Json& v) {
    if (!v.is_integer() || v.integer() < 0 || v.integer() > INT32_MAX) fail(key, "a token id or an array of them");
    values.push_back(int32_t(v.integer()));
  };
  if (j->kind() == Json::Kind::array) {
    for (const Json& v : j->array()) take(v);
  } else {
    take(*j);
  }
  return values;
}

ConfigReader ConfigReader::object(const char* key) const {
  const Json* j = raw(key);
  if (!j) return {empty_object(), where(key)};
  if (!j->is_object()) fail(key, "an object");
  return {*j, where(key)};
}

}  // namespace vpref
