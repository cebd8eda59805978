// Memory for what is large and stays: pieces of large mappings in large pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace gemloupe {

// At least `bytes` bytes of zeros, aligned to 4096. Throws std::bad_alloc.
std::shared_ptr<uint8_t> large_memory(size_t bytes);

}  // namespace gemloupe
