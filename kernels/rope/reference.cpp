#include <cmath>

#include "kernels/common/math.h"
#include "kernels/common/team.h"
#include "kernels/rope/rope.h"

namespace gemloupe::reference {

void rope(Matrix<const float> x, const int32_t* positions, const float* inv_freq, int head_dim, Matrix<float> y) {
  const int pairs = head_dim / 2;
  share(x.rows, 4, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      for (int i = 0; i < pairs; ++i) {
        float sine, cosine;
        sincos_(static_cast<float>(positions[t]) * inv_freq[i], sine, cosine);
        for (int64_t head = 0; head + head_dim <= x.cols; head += head_dim) {
          const float x1 = x.row(t)[head + i], x2 = x.row(t)[head + i + pairs];
          y.row(t)[head + i] = std::fma(x1, cosine, -(x2 * sine));
          y.row(t)[head + i + pairs] = std::fma(x2, cosine, x1 * sine);
        }
      }
    }
  });
}

}  // namespace gemloupe::reference
