// JSON out of files, read without trust. Includes nlohmann's header: for .cpp files only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace gemloupe {

// Throws Error with the path and the byte (counted from the file's start, where `text` begins at `first_byte`): not JSON, a
// key twice in one object, nested more than 100 deep.
nlohmann::json parse_json(std::string_view text, const std::string& path, uint64_t first_byte = 0);

}  // namespace gemloupe
