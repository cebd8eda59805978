// Rows for kernel tests: random values, a stride of their own, a beginning that no vector is aligned to, and gaps that must
// stay as they are.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ostream>
#include <random>
#include <vector>

#include "kernels/common/half.h"
#include "kernels/common/matrix.h"
#include "kernels/common/team.h"

namespace gemloupe::tests {

inline const int64_t kAwkward[] = {1, 15, 16, 17, 31, 33, 255, 257, 640};

class Rows {
 public:
  Rows(int64_t rows, int64_t cols, uint32_t seed = 0, float spread = 1.0f)
      : rows_(rows), cols_(cols), stride_(cols + 3), data_(1 + rows * stride_ + 16, kGap) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, spread);
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t i = 0; i < cols; ++i) view().row(t)[i] = normal(random);
  }
  Matrix<float> view() { return {data_.data() + 1, rows_, cols_, stride_}; }
  float& at(int64_t t, int64_t i) { return view().row(t)[i]; }

  bool gaps_untouched() {
    for (int64_t i = 0; i < static_cast<int64_t>(data_.size()); ++i) {
      const bool inside = i >= 1 && (i - 1) / stride_ < rows_ && (i - 1) % stride_ < cols_;
      if (!inside && data_[i] != kGap) return false;
    }
    return true;
  }

 private:
  static constexpr float kGap = 12345.0f;
  int64_t rows_, cols_, stride_;
  std::vector<float> data_;
};

inline bool same_bits(float a, float b) { return (a != a && b != b) || float_to_bits(a) == float_to_bits(b); }

// Equal to the bit; any NaN is as good as another.
inline bool same_bits(Matrix<const float> a, Matrix<const float> b) {
  for (int64_t t = 0; t < a.rows; ++t)
    for (int64_t i = 0; i < a.cols; ++i)
      if (!same_bits(a.row(t)[i], b.row(t)[i])) return false;
  return a.rows == b.rows && a.cols == b.cols;
}

// The distance of a float from the true value, in units of the last place of the true value.
inline double ulps(float got, double expected) {
  if (std::isnan(expected)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isinf(expected) || std::isinf(got)) return static_cast<float>(expected) == got ? 0 : INFINITY;
  int exponent;
  std::frexp(expected, &exponent);
  return std::fabs(got - expected) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

// Sets the number of threads for a scope.
class Threads {
 public:
  explicit Threads(int n) : before_(threads()) { set_threads(n); }
  ~Threads() { set_threads(before_); }

 private:
  int before_;
};

// 1, 2, 5 and 3 in turn: four, so that with three variants every variant meets every number.
inline int some_threads() {
  static int calls = 0;
  constexpr int kSome[] = {1, 2, 5, 3};
  return kSome[calls++ % 4];
}

}  // namespace gemloupe::tests
