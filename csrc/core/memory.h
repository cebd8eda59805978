// Memory for what is large and stays: whole pages from the system, in large pages where it has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace gemloupe {

// At least `bytes` bytes of zeros, aligned to 64 or more. Throws std::bad_alloc.
std::shared_ptr<uint8_t> large_memory(size_t bytes);

}  // namespace gemloupe
