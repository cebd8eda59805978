// UTF-8 as Unicode and Python read it: no overlong forms, no surrogates, nothing above U+10FFFF. An invalid sequence is
// replaced by its longest valid beginning: "\xE2\x96" followed by "x" is one U+FFFD, "\xFF\xFF" is two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gemloupe {

inline constexpr int32_t kInvalidUtf8 = -1;
inline constexpr int32_t kIncompleteUtf8 = -2;

// code: the code point, or one of the constants above; length: the bytes it covers, at least 1.
struct Character {
  int32_t code;
  uint32_t length;
};

// The character at the beginning of text, which is not empty. Incomplete: valid so far, but text ends inside it.
inline Character first_character(const char* begin, const char* end) {
  const auto* p = reinterpret_cast<const unsigned char*>(begin);
  const size_t left = static_cast<size_t>(end - begin);
  const unsigned lead = p[0];
  if (lead < 0x80) return {static_cast<int32_t>(lead), 1};
  if (lead < 0xC2 || lead > 0xF4) return {kInvalidUtf8, 1};
  const uint32_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  const unsigned lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  int32_t code = static_cast<int32_t>(lead & (0xFFu >> (length + 1)));
  for (uint32_t i = 1; i < length; ++i) {
    if (i == left) return {kIncompleteUtf8, i};
    if (p[i] < (i == 1 ? lowest : 0x80u) || p[i] > (i == 1 ? highest : 0xBFu)) return {kInvalidUtf8, i};
    code = (code << 6) | static_cast<int32_t>(p[i] & 0x3Fu);
  }
  return {code, length};
}

// Appends a code point that first_character could have returned.
void append_utf8(int32_t code, std::string& out);

// Appends the characters of bytes to out, U+FFFD for what is invalid, and returns how many bytes were used: all of them if
// this is the end of the text, else all but an incomplete character at the end.
size_t append_valid_utf8(std::string_view bytes, bool at_end, std::string& out);

}  // namespace gemloupe
