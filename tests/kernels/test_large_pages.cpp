#include <doctest/doctest.h>

#include <algorithm>
#include <new>

#include "kernels/common/large_pages.h"

namespace gemloupe {
namespace {

TEST_CASE("large pages: zeros that begin at a large page, and can be written to their end") {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4097}, kLargePage - 1, kLargePage, kLargePage + 1, 3 * kLargePage + 77}) {
    CAPTURE(bytes);
    const auto memory = map_zeros(bytes);
    CHECK(reinterpret_cast<uintptr_t>(memory.get()) % kLargePage == 0);
    CHECK(std::all_of(memory.get(), memory.get() + bytes, [](uint8_t b) { return b == 0; }));
    std::fill(memory.get(), memory.get() + bytes, uint8_t{1});
  }
}

TEST_CASE("large pages: more than there are addresses is refused") {
  CHECK_THROWS_AS(map_zeros(SIZE_MAX), std::bad_alloc);
  CHECK_THROWS_AS(map_zeros(SIZE_MAX / 2), std::bad_alloc);
}

TEST_CASE("large pages: to ask for pages of a piece without a whole one does nothing") {
  uint8_t some[64];
  ask_for_large_pages(some, sizeof some);
  ask_for_large_pages(some, 0);
}

}  // namespace
}  // namespace gemloupe
