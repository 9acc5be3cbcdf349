// SPDX-License-Identifier: Apache-2.0
// Numbers of bytes as text, for messages and plans.
#pragma once
#include <cstddef>
#include <sstream>
#include <string>

namespace vpref {

// "2.5 GiB": three digits.
inline std::string gibibytes(size_t bytes) {
  std::ostringstream s;
  s.precision(3);
  s << double(bytes) / double(size_t(1) << 30) << " GiB";
  return s.str();
}

// "14.2 MiB" below a GiB, as gibibytes() from there.
inline std::string binary_size(size_t bytes) {
  if (bytes >= size_t(1) << 30) return gibibytes(bytes);
  std::ostringstream s;
  s.precision(3);
  s << double(bytes) / double(size_t(1) << 20) << " MiB";
  return s.str();
}

// "96 MiB": rounded, for a list of sizes.
inline std::string mebibytes(size_t bytes) { return std::to_string((bytes + (size_t(1) << 19)) >> 20) + " MiB"; }

}  // namespace vpref
