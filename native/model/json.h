// SPDX-License-Identifier: Apache-2.0
// A strict JSON reader (RFC 8259) for configuration files and safetensors headers: UTF-8 only, no duplicate keys,
// bounded depth.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vpref {

class Json {
 public:
  enum class Kind : uint8_t { null, boolean, number, string, array, object };
  using Member = std::pair<std::string, Json>;

  // Throws Error{"checkpoint"} "WHERE: byte N: ..." when text is not one JSON value.
  static Json parse(std::string_view text, const std::string& where);

  Kind kind() const { return kind_; }
  const char* kind_name() const;
  bool is_null() const { return kind_ == Kind::null; }
  bool is_object() const { return kind_ == Kind::object; }
  bool is_string() const { return kind_ == Kind::string; }
  bool is_number() const { return kind_ == Kind::number; }
  bool is_integer() const {
    return kind_ == Kind::number && is_integer_;
  }  // written without fraction or exponent, within int64
  bool boolean() const { return boolean_; }
  double number() const { return number_; }
  int64_t integer() const { return integer_; }
  const std::string& string() const { return string_; }
  const std::vector<Json>& array() const { return array_; }
  const std::vector<Member>& object() const { return object_; }
  // The member of an object, or null if there is none or this is not an object.
  const Json* find(std::string_view key) const;

 private:
  friend class JsonParser;
  Kind kind_ = Kind::null;
  bool boolean_ = false;
  bool is_integer_ = false;
  double number_ = 0;
  int64_t integer_ = 0;
  std::string string_;
  std::vector<Json> array_;
  std::vector<Member> object_;
};

// The text as a JSON string literal, quotes included.
std::string json_quote(std::string_view text);

// Reads and parses a file. Throws Error{"io"} or Error{"checkpoint"}.
Json read_json_file(const std::string& path);
bool file_exists(const std::string& path);

}  // namespace vpref
