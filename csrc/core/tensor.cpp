#include "csrc/core/tensor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "csrc/core/error.h"
#include "kernels/common/half.h"
#include "kernels/common/large_pages.h"

namespace gemloupe {
namespace {

constexpr size_t kLine = 64, kLarge = size_t{1} << 20;

// Freed blocks are kept for the next step, which asks for the same sizes: fresh pages cost more than the arithmetic on them.
class Pool {
 public:
  // What a block of so many bytes takes up.
  static size_t room(size_t bytes) { return up(std::max<size_t>(bytes, 1), align(bytes)); }

  // A block of that size; a large one may be up to twice as large, and then `bytes` becomes its size.
  void* take(size_t& bytes) {
    {
      std::lock_guard lock(mutex_);
      const size_t most = bytes < kLarge ? bytes : 2 * bytes;
      for (auto found = idle_.lower_bound(bytes); found != idle_.end() && found->first <= most; ++found) {
        if (found->second.empty()) continue;
        void* block = found->second.back();
        found->second.pop_back();
        bytes = found->first;
        idle_bytes_ -= bytes;
        return block;
      }
    }
    void* block = std::aligned_alloc(align(bytes), bytes);
    if (!block) throw std::bad_alloc();
    ask_for_large_pages(block, bytes);
    return block;
  }
  void give(void* block, size_t bytes) {
    {
      std::lock_guard lock(mutex_);
      if (idle_bytes_ + bytes <= kMostIdle) {
        idle_[bytes].push_back(block);
        idle_bytes_ += bytes;
        return;
      }
    }
    std::free(block);
  }

 private:
  static size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }
  static size_t align(size_t bytes) { return bytes < kLarge ? kLine : kLargePage; }

  static constexpr size_t kMostIdle = size_t{1} << 30;
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> idle_;  // by size
  size_t idle_bytes_ = 0;
};

Pool& pool() {
  static Pool& forever = *new Pool;  // never destroyed: tensors of other statics may outlive it
  return forever;
}

int64_t product(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

}  // namespace

int64_t Type::width() const {
  for (int64_t d : shape)
    if (d == kAny) return kAny;
  return product(shape);
}

std::string to_string(const Type& type) {
  std::string s = type.dtype == DType::f32 ? "f32[" : "i32[";
  s += type.extent == Extent::rows ? "row" : type.extent == Extent::wanted ? "wanted" : "key";
  for (int64_t d : type.shape) s += ", " + (d == kAny ? std::string("any") : std::to_string(d));
  return s + "]";
}

Tensor::Tensor(DType dtype, int64_t rows, std::vector<int64_t> shape)
    : dtype_(dtype), rows_(rows), width_(product(shape)), shape_(std::move(shape)) {
  size_t size = Pool::room(static_cast<size_t>(bytes()));
  void* const block = pool().take(size);
  data_ = std::shared_ptr<void>(block, [size](void* b) { pool().give(b, size); });
}

Tensor Tensor::reshaped(std::vector<int64_t> shape) const {
  check(product(shape) == width_, "a row of ", width_, " numbers cannot be seen as ", product(shape));
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::copy() const {
  if (!rings.empty()) return dense();
  Tensor t(dtype_, rows_, shape_);
  std::memcpy(t.data_.get(), data_.get(), static_cast<size_t>(bytes()));
  return t;
}

Tensor cache_value(DType dtype, std::vector<int64_t> shape, std::vector<Ring> rings) {
  Tensor t;
  t.dtype_ = dtype;
  t.width_ = product(shape);
  t.shape_ = std::move(shape);
  for (const Ring& r : rings) t.rows_ += r.last - r.first;
  t.rings = std::move(rings);
  return t;
}

Tensor Tensor::dense() const {
  if (rings.empty() || data_) return *this;
  Tensor t(dtype_, rows_, shape_);
  int64_t row = 0;
  for (const Ring& ring : rings)
    for (int64_t p = ring.first; p < ring.last; ++p, ++row) {
      if (dtype_ == DType::i32) {
        t.ints()[row] = static_cast<int32_t>(p);
        continue;
      }
      const int64_t slot = p % ring.capacity * ring.stride;
      float* to = t.floats() + row * width_;
      if (ring.half)
        for (int64_t i = 0; i < width_; ++i) to[i] = f16_to_float(static_cast<const uint16_t*>(ring.data)[slot + i]);
      else
        std::memcpy(to, static_cast<const float*>(ring.data) + slot, static_cast<size_t>(width_) * 4);
    }
  return t;
}

Tensor as_rings(const Tensor& dense, const std::vector<Ring>& like) {
  Tensor t = dense;
  int64_t row = 0;
  for (const Ring& ring : like) {
    const int64_t count = ring.last - ring.first;
    Ring view{nullptr, std::max<int64_t>(count, 1), ring.first, ring.last, dense.width(), false};
    // The rows are turned so that position p lies in slot p % capacity here too.
    t.rings.push_back(view);
    if (dense.dtype() == DType::f32 && count) {
      Tensor turned(DType::f32, count, dense.shape());
      for (int64_t i = 0; i < count; ++i)
        std::memcpy(turned.floats() + (ring.first + i) % count * dense.width(), dense.floats() + (row + i) * dense.width(),
                    static_cast<size_t>(dense.width()) * 4);
      t.rings.back().data = turned.floats();
      t.kept.push_back(turned.memory());
    }
    row += count;
  }
  return t;
}

}  // namespace gemloupe
