// A value at run time: rows of numbers, [row, …], contiguous. Copying a Tensor shares its memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/common/matrix.h"

namespace gemloupe {

enum class DType { f32, i32 };

// What the first dimension of a value counts: the rows of the step, those whose logits are wanted, or the keys of a cache.
enum class Extent { rows, wanted, keys };

inline constexpr int64_t kAny = -1;  // a dimension that is known only when the graph runs

struct Type {
  DType dtype = DType::f32;
  std::vector<int64_t> shape;  // of one row
  Extent extent = Extent::rows;

  int64_t width() const;       // the product of shape; kAny if one of its dimensions is
  bool operator==(const Type&) const = default;
};
std::string to_string(const Type& type);  // "f32[row, 4, 256]"

// What one session's cache holds for a segment of the step: a ring in which position p lies in slot p % capacity.
struct Ring {
  const void* data = nullptr;
  int64_t capacity = 0;
  int64_t first = 0, last = 0;  // the positions that can be read: first … last - 1
  int64_t stride = 0;           // elements between two slots
  bool half = false;            // IEEE half precision instead of float
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, int64_t rows, std::vector<int64_t> shape);  // uninitialised memory

  bool empty() const { return !data_ && rings.empty(); }
  DType dtype() const { return dtype_; }
  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t bytes() const { return rows_ * width_ * 4; }

  float* floats() const { return static_cast<float*>(data_.get()); }
  int32_t* ints() const { return static_cast<int32_t*>(data_.get()); }
  Matrix<float> matrix() const { return {floats(), rows_, width_}; }
  Matrix<int32_t> int_matrix() const { return {ints(), rows_, width_}; }
  const std::shared_ptr<void>& memory() const { return data_; }

  // The same memory seen with other row shapes of the same width.
  Tensor reshaped(std::vector<int64_t> shape) const;
  Tensor copy() const;

  // A cache's value is one ring a segment, and no memory of its own until somebody looks at it (dense()).
  std::vector<Ring> rings;
  std::vector<std::shared_ptr<void>> kept;  // memory behind rings that belongs to no session
  // All keys of all segments in ascending positions, as float [key, …] (or the positions themselves, int).
  Tensor dense() const;

 private:
  friend Tensor cache_value(DType dtype, std::vector<int64_t> shape, std::vector<Ring> rings);
  DType dtype_ = DType::f32;
  int64_t rows_ = 0, width_ = 0;
  std::vector<int64_t> shape_;
  std::shared_ptr<void> data_;
};

// The value of a cache's port: rings over the state of the step's sessions. dtype i32 means the positions.
Tensor cache_value(DType dtype, std::vector<int64_t> shape, std::vector<Ring> rings);
// The other way: dense rows (an edited copy of dense()) as rings of the same positions.
Tensor as_rings(const Tensor& dense, const std::vector<Ring>& like);

}  // namespace gemloupe
