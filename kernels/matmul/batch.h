// The activation rows of a call in the arithmetic `exact`: quantized once, then read by all threads and every weight row.
// Only this room, kernels/strips and kernels/experts include it.
#pragma once

#include <cstdint>

#include "kernels/common/matrix.h"

namespace gemloupe::matmul {

// Columns that an integer sum takes at most: a group, or the parts of a long one.
inline constexpr int kRun = 256;

inline int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Cuts aligned pieces out of one scratch whose size is the sum of their bytes().
class Pieces {
 public:
  template <class T>
  static int64_t bytes(int64_t count) { return up(count * static_cast<int64_t>(sizeof(T)), 64); }
  explicit Pieces(void* at) : at_(static_cast<uint8_t*>(at)) {}
  template <class T>
  T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(at_);
    at_ += bytes<T>(count);
    return piece;
  }

 private:
  uint8_t* at_;
};

// Quantizes a row; fills `padded` (a multiple of 64 and of the group) elements of planes, 2 bytes each in the variant's own
// order, and the sums X of its runs; gives s.
using Quantize = float(const float* x, int64_t cols, int64_t padded, int group, uint8_t* planes, int32_t* sums);
Quantize avx2_quantize, avx512_quantize;

// Rows order[i] of y (i where order is null). A row of x serves one row of y, or as many in succession as y has more rows.
struct Batch {
  Matrix<const float> x;
  Matrix<float> y;
  const int32_t* order = nullptr;
  int64_t rows = 0;

  const float* x_row(int64_t t) const { return x.row(t / (y.rows / x.rows)); }
};

struct Quantized {
  uint8_t* planes = nullptr;
  int32_t* correction = nullptr;  // -offset * X of each run
  float* sums = nullptr;          // float(X)
  float* row_scale = nullptr;
  float** y = nullptr;  // where each row's results go
  int64_t padded = 0, runs = 0;  // of a row
  int group = 0;
  bool one = false;  // a single row of x serves all rows of y, and is here once

  Quantized(int64_t cols, int64_t padded, int group);
  int64_t plane_stride() const { return 2 * padded + 64; }  // 64: rows must not meet in the same cache sets
  // From one row to the next.
  int64_t plane_step() const { return one ? 0 : plane_stride(); }
  int64_t run_step() const { return one ? 0 : runs; }
  int64_t bytes(int64_t rows) const;
  void place(Pieces& pieces, int64_t rows);
  void fill(Quantize* quantize, const Batch& batch, int offset, bool shared) const;
};

}  // namespace gemloupe::matmul
