// The vector loop of rope; avx2.cpp and avx512.cpp include it after their Lanes.
#pragma once

#include "kernels/common/team.h"
#include "kernels/rope/rope.h"

namespace gemloupe {
namespace {

[[gnu::always_inline]] inline void rotate(Lanes sine, Lanes cosine, Lanes x1, Lanes x2, Lanes& y1, Lanes& y2) {
  y1 = fma(x1, cosine, -(x2 * sine));
  y2 = fma(x2, cosine, x1 * sine);
}

[[gnu::always_inline]] inline void rope_lanes(Matrix<const float> x, const int32_t* positions, const float* inv_freq,
                                              int head_dim, Matrix<float> y) {
  const int pairs = head_dim / 2;
  share(x.rows, 1 + 16384 / (x.cols + 1), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const Lanes position = fill(static_cast<float>(positions[t]));
      const float* in = x.row(t);
      float* out = y.row(t);
      // Pairs outermost: sines and cosines are computed once a row and stay in registers for all heads.
      for (int i = 0; i < pairs; i += kLanes) {
        const int n = pairs - i;
        Lanes sine, cosine, y1, y2;
        if (n >= kLanes) {
          sincos_(position * load(inv_freq + i), sine, cosine);
          for (int64_t h = i; h - i + head_dim <= x.cols; h += head_dim) {
            rotate(sine, cosine, load(in + h), load(in + h + pairs), y1, y2);
            store(out + h, y1);
            store(out + h + pairs, y2);
          }
        } else {
          sincos_(position * load(inv_freq + i, n), sine, cosine);
          for (int64_t h = i; h - i + head_dim <= x.cols; h += head_dim) {
            rotate(sine, cosine, load(in + h, n), load(in + h + pairs, n), y1, y2);
            store(out + h, y1, n);
            store(out + h + pairs, y2, n);
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace gemloupe
