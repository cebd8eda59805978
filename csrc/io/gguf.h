// One GGUF file (versions 2 and 3, little-endian) in memory, read without trust: every count, length and offset is checked
// against the file before it is used, and nothing is allocated that the file's own size does not justify.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "csrc/io/checkpoint.h"

namespace gemloupe {

struct GgufContents {
  std::vector<TensorEntry> tensors;  // they point into the bytes given
  std::map<std::string, MetaValue> metadata;
  std::map<std::string, MetaType> types;  // of the metadata as stored; of an array, its elements'
};

// Throws Error that begins with `path`, whatever the bytes are.
GgufContents read_gguf(std::span<const uint8_t> bytes, const std::string& path);

}  // namespace gemloupe
