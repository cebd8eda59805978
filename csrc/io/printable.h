// Names from files in messages: what is hostile or broken in them must not reach a terminal.
#pragma once

#include <string>
#include <string_view>

namespace gemloupe {

// 'name', with control characters and broken UTF-8 as \xNN, cut after 100 bytes.
std::string printable(std::string_view name);

// Well-formed UTF-8: shortest forms only, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view bytes);

}  // namespace gemloupe
