#include "kernels/common/large_pages.h"

#include <sys/mman.h>

#include <new>

namespace gemloupe {
namespace {

uintptr_t up(uintptr_t n) { return (n + kLargePage - 1) / kLargePage * kLargePage; }

}  // namespace

void ask_for_large_pages([[maybe_unused]] void* start, [[maybe_unused]] size_t bytes) {
#if defined(MADV_HUGEPAGE)
  const auto at = reinterpret_cast<uintptr_t>(start), first = up(at), end = (at + bytes) / kLargePage * kLargePage;
  if (first < end) (void)::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
}

std::shared_ptr<uint8_t> map_zeros(size_t bytes) {
  if (bytes > SIZE_MAX - 2 * kLargePage) throw std::bad_alloc();
  const size_t used = bytes < kLargePage ? bytes : up(bytes), room = used + kLargePage;
  void* const mapping = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  const std::shared_ptr<void> whole(mapping, [room](void* m) { ::munmap(m, room); });
  auto* const start = reinterpret_cast<uint8_t*>(up(reinterpret_cast<uintptr_t>(mapping)));
  ask_for_large_pages(start, used);
  return {whole, start};
}

}  // namespace gemloupe
