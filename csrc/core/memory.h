// Memory for what is large and stays: pieces of large mappings, in the large pages of the system where it has them (half as fast
// again to stream through, or more, where it runs in a virtual machine).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace gemloupe {

inline constexpr size_t kLargePage = size_t{2} << 20;

// Whole large pages for the whole large pages in [start, start + bytes), when they are first touched. A wish, no more.
void ask_for_large_pages(void* start, size_t bytes);

// At least `bytes` bytes of zeros, aligned to 4096. Throws std::bad_alloc.
std::shared_ptr<uint8_t> large_memory(size_t bytes);

}  // namespace gemloupe
