// One safetensors file in memory, read without trust, as strictly as the format's own library: the tensors cover the bytes
// behind the header without holes or overlaps, and each has exactly the bytes of its type and shape.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/io/checkpoint.h"

namespace gemloupe {

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

// Bytes of an element, 0 for a type we do not know.
uint32_t safetensors_type_bytes(std::string_view type);

// Throws Error that begins with `path`, whatever the bytes are. Sorted by place in the file; not aligned to anything.
std::vector<TensorEntry> read_safetensors(std::span<const uint8_t> bytes, const std::string& path);

}  // namespace gemloupe
