// SPDX-License-Identifier: Apache-2.0
// UTF-8 sequences and code points.
#pragma once
#include <cstdint>
#include <string>

namespace vpref {

// Length of the UTF-8 sequence at `p`, or 0 if it is malformed (overlong, surrogate, beyond U+10FFFF).
inline int utf8_length(const unsigned char* p, const unsigned char* end) {
  const auto tail = [&](int i) { return p + i < end && (p[i] & 0xc0) == 0x80; };
  if (p[0] < 0x80) return 1;
  if (p[0] < 0xc2) return 0;
  if (p[0] < 0xe0) return tail(1) ? 2 : 0;
  if (p[0] < 0xf0) {
    if (!tail(1) || !tail(2)) return 0;
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0;
    if (p[0] == 0xed && p[1] >= 0xa0) return 0;
    return 3;
  }
  if (p[0] > 0xf4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  if (p[0] == 0xf0 && p[1] < 0x90) return 0;
  if (p[0] == 0xf4 && p[1] >= 0x90) return 0;
  return 4;
}

// The code point as UTF-8.
inline void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += char(code);
  } else if (code < 0x800) {
    out += char(0xc0 | code >> 6);
    out += char(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += char(0xe0 | code >> 12);
    out += char(0x80 | (code >> 6 & 0x3f));
    out += char(0x80 | (code & 0x3f));
  } else {
    out += char(0xf0 | code >> 18);
    out += char(0x80 | (code >> 12 & 0x3f));
    out += char(0x80 | (code >> 6 & 0x3f));
    out += char(0x80 | (code & 0x3f));
  }
}

}  // namespace vpref
