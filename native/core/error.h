// SPDX-License-Identifier: Apache-2.0
// The only exception class of the engine. The addon converts it into an EngineError {code, message}.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace vpref {

// code: one of "shape", "dtype", "device", "config", "checkpoint", "memory", "io", "cancelled", "internal",
// "nonfinite", "request", "busy", "closed", "dist", "peer", "model" (of Engine: no request can be computed).
class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const noexcept { return code_; }

 private:
  std::string code_;
};

template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream s;
  (s << ... << parts);
  return s.str();
}

// Throws Error{code, parts...} unless ok.
template <class... Parts>
void check(bool ok, const char* code, const Parts&... parts) {
  if (!ok) throw Error(code, cat(parts...));
}

}  // namespace vpref
