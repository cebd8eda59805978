#include "csrc/core/memory.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace gemloupe {

std::shared_ptr<uint8_t> large_memory(size_t bytes) {
  constexpr size_t kLargePage = size_t{2} << 20;
  if (bytes < kLargePage) {
    const std::align_val_t alignment{64};
    auto* small = static_cast<uint8_t*>(::operator new(bytes + 1, alignment));
    std::memset(small, 0, bytes + 1);
    return {small, [alignment](uint8_t* p) { ::operator delete(p, alignment); }};
  }
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  // Room to begin at a large page; what lies before and behind goes back.
  const size_t size = (bytes + 4095) / 4096 * 4096, room = size + kLargePage;
  void* found = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (found == MAP_FAILED) throw std::bad_alloc();
  auto* start = static_cast<uint8_t*>(found);
  const size_t before = (kLargePage - reinterpret_cast<uintptr_t>(start) % kLargePage) % kLargePage;
  if (before) ::munmap(start, before);
  if (room - before - size) ::munmap(start + before + size, room - before - size);
  uint8_t* memory = start + before;
#if defined(MADV_HUGEPAGE)
  (void)::madvise(memory, size, MADV_HUGEPAGE);
#endif
  return {memory, [size](uint8_t* p) { ::munmap(p, size); }};
}

}  // namespace gemloupe
