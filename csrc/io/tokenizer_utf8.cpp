#include "csrc/io/tokenizer_utf8.h"

namespace gemloupe {

void append_utf8(int32_t code, std::string& out) {
  const auto put = [&](int32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | (code >> 6));
  } else {
    if (code < 0x10000) {
      put(0xE0 | (code >> 12));
    } else {
      put(0xF0 | (code >> 18));
      put(0x80 | ((code >> 12) & 0x3F));
    }
    put(0x80 | ((code >> 6) & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

size_t append_valid_utf8(std::string_view bytes, bool at_end, std::string& out) {
  const char* const end = bytes.data() + bytes.size();
  const char* p = bytes.data();
  const char* valid = p;  // what lies between valid and p is copied in one piece
  while (p < end) {
    const Character character = first_character(p, end);
    if (character.code < 0) {
      out.append(valid, p);
      valid = p;
      if (character.code == kIncompleteUtf8 && !at_end) break;
      out += "\xEF\xBF\xBD";
      valid += character.length;
    }
    p += character.length;
  }
  out.append(valid, p);
  return static_cast<size_t>(p - bytes.data());
}

}  // namespace gemloupe
