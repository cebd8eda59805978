#include "kernels/common/scratch.h"

#include <cstddef>
#include <new>

namespace gemloupe {
namespace {

constexpr std::align_val_t kAlignment{64};
constexpr int64_t kKept = int64_t{1} << 24;  // 64 MB: what a long context once needed is not held for ever

struct Buffer {
  float* data = nullptr;
  int64_t floats = 0;
  void release() {
    ::operator delete(data, kAlignment);
    data = nullptr;
    floats = 0;
  }
  ~Buffer() { release(); }
};

}  // namespace

float* scratch(int64_t floats) {
  thread_local Buffer buffer;
  if (floats > buffer.floats || (buffer.floats > kKept && floats <= kKept)) {
    const int64_t grown = floats > 2 * buffer.floats || floats > kKept ? floats : 2 * buffer.floats;
    const int64_t asked = buffer.floats > kKept ? floats : grown;
    if (asked > INT64_MAX / 8) throw std::bad_alloc();
    buffer.release();
    buffer.data = static_cast<float*>(::operator new(static_cast<std::size_t>(asked) * sizeof(float), kAlignment));
    buffer.floats = asked;
  }
  return buffer.data;
}

}  // namespace gemloupe
