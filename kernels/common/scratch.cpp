#include "kernels/common/scratch.h"

#include <cstddef>
#include <new>

#include "kernels/common/large_pages.h"

namespace gemloupe {
namespace {

constexpr std::size_t kLine = 64;
constexpr int64_t kKept = int64_t{1} << 24;  // 64 MB: what a long context once needed is not held for ever

struct Buffer {
  float* data = nullptr;
  int64_t floats = 0;

  // Large ones ask for large pages: tiles walk through them with long strides, and in a virtual machine a missing translation
  // costs more than the memory itself.
  void take(int64_t count) {
    const auto bytes = static_cast<std::size_t>(count) * sizeof(float);
    data = static_cast<float*>(::operator new(bytes, alignment(count)));
    floats = count;
    ask_for_large_pages(data, bytes);
  }
  void release() {
    ::operator delete(data, alignment(floats));
    data = nullptr;
    floats = 0;
  }
  static std::align_val_t alignment(int64_t count) {
    return std::align_val_t{static_cast<std::size_t>(count) * sizeof(float) < kLargePage ? kLine : kLargePage};
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
    buffer.take(asked);
  }
  return buffer.data;
}

}  // namespace gemloupe
