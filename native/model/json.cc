// SPDX-License-Identifier: Apache-2.0
#include "model/json.h"

#include <sys/stat.h>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <unordered_set>

#include "core/error.h"
#include "model/utf8.h"

namespace vpref {

namespace {

constexpr int kMaxDepth = 64;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& where)
      : begin_(text.data()), p_(begin_), end_(begin_ + text.size()), where_(where) {}

  Json whole() {
    Json v = value(0);
    blank();
    if (p_ != end_) fail("expected the end, got more");
    return v;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Error("checkpoint", cat(where_, ": byte ", p_ - begin_, ": bad JSON: ", what));
  }

  void blank() {
    while (p_ < end_ && (*p_ == ' ' || *p_ == '\t' || *p_ == '\n' || *p_ == '\r')) ++p_;
  }

  void word(const char* w) {
    const size_t n = std::strlen(w);
    if (size_t(end_ - p_) < n || std::memcmp(p_, w, n) != 0) fail("expected a value");
    p_ += n;
  }

  Json value(int depth) {
    if (depth > kMaxDepth) fail("nested too deeply");
    blank();
    if (p_ == end_) fail("expected a value, got the end");
    Json v;
    switch (*p_) {
      case '{':
        object(v, depth);
        return v;
      case '[':
        array(v, depth);
        return v;
      case '"':
        v.kind_ = Json::Kind::string;
        v.string_ = string();
        return v;
      case 't':
        word("true");
        v.boolean_ = true;
        v.kind_ = Json::Kind::boolean;
        return v;
      case 'f':
        word("false");
        v.kind_ = Json::Kind::boolean;
        return v;
      case 'n':
        word("null");
        return v;
      default:
        number(v);
        return v;
    }
  }

  void object(Json& v, int depth) {
    v.kind_ = Json::Kind::object;
    std::unordered_set<std::string> seen;
    ++p_;
    blank();
    if (p_ < end_ && *p_ == '}') {
      ++p_;
      return;
    }
    for (;;) {
      blank();
      if (p_ == end_ || *p_ != '"') fail("expected a key");
      std::string key = string();
      if (!seen.insert(key).second) fail("duplicate key");
      blank();
      if (p_ == end_ || *p_ != ':') fail("expected ':'");
      ++p_;
      v.object_.emplace_back(std::move(key), value(depth + 1));
      if (close('}')) return;
    }
  }

  void array(Json& v, int depth) {
    v.kind_ = Json::Kind::array;
    ++p_;
    blank();
    if (p_ < end_ && *p_ == ']') {
      ++p_;
      return;
    }
    for (;;) {
      v.array_.push_back(value(depth + 1));
      if (close(']')) return;
    }
  }

  // After an element: true at the closing bracket, false at a comma.
  bool close(char bracket) {
    blank();
    if (p_ == end_ || (*p_ != ',' && *p_ != bracket)) fail("expected ',' or a closing bracket");
    return *p_++ == bracket;
  }

  std::string string() {
    std::string out;
    ++p_;
    for (;;) {
      if (p_ == end_) fail("unterminated string");
      const unsigned char c = static_cast<unsigned char>(*p_);
      if (c == '"') {
        ++p_;
        return out;
      }
      if (c < 0x20) fail("control character in a string");
      if (c == '\\') {
        ++p_;
        escape(out);
        continue;
      }
      const int n =
          utf8_length(reinterpret_cast<const unsigned char*>(p_), reinterpret_cast<const unsigned char*>(end_));
      if (n == 0) fail("bad UTF-8");
      out.append(p_, size_t(n));
      p_ += n;
    }
  }

  void escape(std::string& out) {
    if (p_ == end_) fail("unterminated string");
    switch (*p_++) {
      case '"':
        out += '"';
        return;
      case '\\':
        out += '\\';
        return;
      case '/':
        out += '/';
        return;
      case 'b':
        out += '\b';
        return;
      case 'f':
        out += '\f';
        return;
      case 'n':
        out += '\n';
        return;
      case 'r':
        out += '\r';
        return;
      case 't':
        out += '\t';
        return;
      case 'u':
        break;
      default:
        fail("bad escape");
    }
    uint32_t code = hex4();
    if (code >= 0xdc00 && code < 0xe000) fail("lone surrogate");
    if (code >= 0xd800 && code < 0xdc00) {
      if (end_ - p_ < 2 || p_[0] != '\\' || p_[1] != 'u') fail("lone surrogate");
      p_ += 2;
      const uint32_t low = hex4();
      if (low < 0xdc00 || low >= 0xe000) fail("lone surrogate");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, code);
  }

  uint32_t hex4() {
    uint32_t code = 0;
    if (end_ - p_ < 4) fail("bad escape");
    const auto [stop, error] = std::from_chars(p_, p_ + 4, code, 16);
    if (error != std::errc() || stop != p_ + 4) fail("bad escape");
    p_ += 4;
    return code;
  }

  void digits() {
    if (p_ == end_ || !is_digit(*p_)) fail("expected a digit");
    while (p_ < end_ && is_digit(*p_)) ++p_;
  }

  void number(Json& v) {
    const char* const first = p_;
    v.kind_ = Json::Kind::number;
    if (p_ < end_ && *p_ == '-') ++p_;
    if (p_ == end_ || !is_digit(*p_)) fail("expected a value");
    if (*p_ == '0') {
      ++p_;
    } else {
      digits();
    }
    bool integral = true;
    if (p_ < end_ && *p_ == '.') {
      integral = false;
      ++p_;
      digits();
    }
    if (p_ < end_ && (*p_ == 'e' || *p_ == 'E')) {
      integral = false;
      ++p_;
      if (p_ < end_ && (*p_ == '+' || *p_ == '-')) ++p_;
      digits();
    }
    const auto real = std::from_chars(first, p_, v.number_);
    if (real.ec == std::errc::result_out_of_range) fail("number out of range");
    if (integral) v.is_integer_ = std::from_chars(first, p_, v.integer_).ec == std::errc();
  }

  const char* begin_;
  const char* p_;
  const char* end_;
  const std::string& where_;
};

Json Json::parse(std::string_view text, const std::string& where) { return JsonParser(text, where).whole(); }

const Json* Json::find(std::string_view key) const {
  for (const Member& m : object_) {
    if (m.first == key) return &m.second;
  }
  return nullptr;
}

const char* Json::kind_name() const {
  constexpr const char* names[] = {"null", "a boolean", "a number", "a string", "an array", "an object"};
  return names[size_t(kind_)];
}

std::string json_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr const char* hex = "0123456789abcdef";
      out += "\\u00";
      out += hex[c >> 4];
      out += hex[c & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

Json read_json_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  check(bool(in), "io", path, ": ", std::strerror(errno));
  std::ostringstream text;
  text << in.rdbuf();
  check(!in.bad(), "io", path, ": could not be read");
  return Json::parse(text.str(), path);
}

bool file_exists(const std::string& path) {
  struct stat s;
  return stat(path.c_str(), &s) == 0 && S_ISREG(s.st_mode);
}

}  // namespace vpref
