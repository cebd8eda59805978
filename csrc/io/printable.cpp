#include "csrc/io/printable.h"

#include <cstddef>
#include <cstdint>

namespace gemloupe {
namespace {

// Bytes of the well-formed character at `at`, 0 if there is none.
size_t character_bytes(std::string_view s, size_t at) {
  const auto byte = [&](size_t i) { return at + i < s.size() ? uint8_t(s[at + i]) : uint8_t(0); };
  const auto follows = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t a = byte(0);
  if (a < 0x80) return 1;
  if (a >= 0xC2 && a <= 0xDF) return follows(1) ? 2 : 0;
  if (a >= 0xE0 && a <= 0xEF) {
    if (!follows(1) || !follows(2)) return 0;
    if ((a == 0xE0 && byte(1) < 0xA0) || (a == 0xED && byte(1) > 0x9F)) return 0;
    return 3;
  }
  if (a >= 0xF0 && a <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if ((a == 0xF0 && byte(1) < 0x90) || (a == 0xF4 && byte(1) > 0x8F)) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const size_t n = character_bytes(bytes, at);
    if (n == 0) return false;
    at += n;
  }
  return true;
}

std::string printable(std::string_view name) {
  constexpr size_t kLongest = 100;
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (size_t at = 0; at < name.size();) {
    if (at >= kLongest) return out + "…'";
    const size_t n = character_bytes(name, at);
    const uint8_t c = uint8_t(name[at]);
    // C1 controls (U+0080 to U+009F) drive terminals, too.
    const bool control = c < 0x20 || c == 0x7F || (n == 2 && c == 0xC2 && uint8_t(name[at + 1]) < 0xA0);
    if (n == 0 || control) {
      out += {'\\', 'x', kHex[c >> 4], kHex[c & 15]};
      at += 1;
    } else {
      out += name.substr(at, n);
      at += n;
    }
  }
  return out + "'";
}

}  // namespace gemloupe
