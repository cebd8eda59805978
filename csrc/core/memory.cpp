#include "csrc/core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <new>

namespace gemloupe {
namespace {

constexpr size_t kArena = size_t{64} << 20, kAlign = 4096;

size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// A mapping that pieces are cut from; it goes when the last of them has gone.
struct Arena {
  void* mapping = MAP_FAILED;
  size_t room = 0;
  uint8_t *next = nullptr, *end = nullptr;

  explicit Arena(size_t bytes) : room(up(std::max(bytes, kArena), kLargePage) + kLargePage) {
    mapping = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) throw std::bad_alloc();
    const auto start = reinterpret_cast<uintptr_t>(mapping);
    next = static_cast<uint8_t*>(mapping) + (up(start, kLargePage) - start);
    end = next + (room - kLargePage);
    ask_for_large_pages(next, room - kLargePage);
  }
  Arena(const Arena&) = delete;
  ~Arena() {
    if (mapping != MAP_FAILED) ::munmap(mapping, room);
  }
};

}  // namespace

void ask_for_large_pages([[maybe_unused]] void* start, [[maybe_unused]] size_t bytes) {
#if defined(MADV_HUGEPAGE)
  const auto first = up(reinterpret_cast<uintptr_t>(start), kLargePage), end = (reinterpret_cast<uintptr_t>(start) + bytes) / kLargePage * kLargePage;
  if (first < end) (void)::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
}

std::shared_ptr<uint8_t> large_memory(size_t bytes) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  // Never cut twice, so what is handed out is still zero. The weak pointer keeps no arena alive.
  static std::mutex guard;
  static std::weak_ptr<Arena> newest;
  const std::lock_guard lock(guard);
  std::shared_ptr<Arena> arena = newest.lock();
  const size_t size = up(std::max<size_t>(bytes, 1), kAlign);
  if (!arena || static_cast<size_t>(arena->end - arena->next) < size) newest = arena = std::make_shared<Arena>(size);
  uint8_t* piece = arena->next;
  arena->next += size;
  return {std::move(arena), piece};
}

}  // namespace gemloupe
