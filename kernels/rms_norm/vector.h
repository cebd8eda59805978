// The vector loop of rms_norm; avx2.cpp and avx512.cpp include it after their Lanes.
#pragma once

#include "kernels/common/team.h"
#include "kernels/rms_norm/rms_norm.h"

namespace gemloupe {
namespace {

[[gnu::always_inline]] inline float sum_of_squares(const float* x, int64_t n) {
  Lanes sum = fill(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Lanes v = load(x + i);
    sum = fma(v, v, sum);
  }
  // Squares are never -0, so adding +0 to the lanes behind the tail changes nothing.
  if (const int rest = static_cast<int>(n - i)) {
    const Lanes v = load(x + i, rest);
    sum = fma(v, v, sum);
  }
  return fold(sum);
}

[[gnu::always_inline]] inline void rms_norm_lanes(Matrix<const float> x, const float* scale, float eps, float factor,
                                                  Matrix<float> y) {
  const int64_t n = x.cols, full = n / kLanes * kLanes;
  const int rest = static_cast<int>(n - full);
  // A weight is seldom in a cache, as it is read once a step: asked for now, it comes while the squares are summed.
  if (scale)
    for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(scale + i);
  share(x.rows, 1 + 16384 / (n + 1), [&](int64_t first, int64_t last) {
    const Lanes f = fill(factor);
    for (int64_t t = first; t < last; ++t) {
      const float* in = x.row(t);
      float* out = y.row(t);
      const float mean = sum_of_squares(in, n) / static_cast<float>(n);
      const Lanes r = fill(1.0f / __builtin_sqrtf(mean + eps));
      if (factor != 1.0f) {
        for (int64_t i = 0; i < full; i += kLanes)
          store(out + i, (scale ? load(in + i) * r * load(scale + i) : load(in + i) * r) * f);
        if (rest)
          store(out + full, (scale ? load(in + full, rest) * r * load(scale + full, rest) : load(in + full, rest) * r) * f,
                rest);
      } else if (scale) {
        for (int64_t i = 0; i < full; i += kLanes) store(out + i, load(in + i) * r * load(scale + i));
        if (rest) store(out + full, load(in + full, rest) * r * load(scale + full, rest), rest);
      } else {
        for (int64_t i = 0; i < full; i += kLanes) store(out + i, load(in + i) * r);
        if (rest) store(out + full, load(in + full, rest) * r, rest);
      }
    }
  });
}

}  // namespace
}  // namespace gemloupe
