// A view of a row-major matrix: row r begins at data + r * stride. It owns nothing.
#pragma once

#include <cstdint>

namespace gemloupe {

template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // elements between the beginnings of two rows

  Matrix() = default;
  Matrix(T* data, int64_t rows, int64_t cols) : Matrix(data, rows, cols, cols) {}
  Matrix(T* data, int64_t rows, int64_t cols, int64_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}

  [[gnu::always_inline]] T* row(int64_t r) const { return data + r * stride; }
  [[gnu::always_inline]] Matrix slice(int64_t first, int64_t count) const { return {row(first), count, cols, stride}; }
  [[gnu::always_inline]] operator Matrix<const T>() const { return {data, rows, cols, stride}; }
};

}  // namespace gemloupe
