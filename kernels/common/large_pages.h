// The system's large pages: half as fast again to stream through as small ones, or more, where the system is a virtual machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace gemloupe {

inline constexpr size_t kLargePage = size_t{2} << 20;

// Whole large pages for the whole large pages in [start, start + bytes), when they are first touched. A wish, no more.
void ask_for_large_pages(void* start, size_t bytes);

// Zeros that begin at a large page and lie in large ones, or, where they are fewer than one, in small ones. What is never touched
// takes no memory. Throws std::bad_alloc.
std::shared_ptr<uint8_t> map_zeros(size_t bytes);

}  // namespace gemloupe
