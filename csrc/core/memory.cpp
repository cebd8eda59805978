#include "csrc/core/memory.h"

#include <algorithm>
#include <mutex>
#include <new>

#include "kernels/common/large_pages.h"

namespace gemloupe {
namespace {

constexpr size_t kArena = size_t{64} << 20, kAlign = 4096;

size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// A mapping that pieces are cut from; it goes when the last of them has gone.
struct Arena {
  std::shared_ptr<uint8_t> mapping;
  uint8_t *next, *end;

  explicit Arena(size_t bytes) : mapping(map_zeros(bytes)), next(mapping.get()), end(next + bytes) {}
};

}  // namespace

std::shared_ptr<uint8_t> large_memory(size_t bytes) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  // Never cut twice, so what is handed out is still zero. The weak pointer keeps no arena alive.
  static std::mutex guard;
  static std::weak_ptr<Arena> newest;
  const std::lock_guard lock(guard);
  std::shared_ptr<Arena> arena = newest.lock();
  const size_t size = up(std::max<size_t>(bytes, 1), kAlign);
  if (!arena || static_cast<size_t>(arena->end - arena->next) < size)
    newest = arena = std::make_shared<Arena>(up(std::max(size, kArena), kLargePage));
  uint8_t* piece = arena->next;
  arena->next += size;
  return {std::move(arena), piece};
}

}  // namespace gemloupe
