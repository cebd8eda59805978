// The vector loop of add; avx2.cpp and avx512.cpp include it after their Lanes.
#pragma once

#include "kernels/common/cells.h"
#include "kernels/add/add.h"

namespace gemloupe {
namespace {

[[gnu::always_inline]] inline void add_lanes(Matrix<const float> a, Matrix<const float> b, Matrix<float> y) {
  share_cells(y.rows, y.cols, 65536, [&](int64_t t, int64_t i, int64_t last) {
    const float *p = a.row(t), *q = b.row(t);
    float* out = y.row(t);
    for (; i + kLanes <= last; i += kLanes) store(out + i, load(p + i) + load(q + i));
    if (const int rest = static_cast<int>(last - i)) store(out + i, load(p + i, rest) + load(q + i, rest), rest);
  });
}

[[gnu::always_inline]] inline void scale_lanes(Matrix<const float> x, float factor, Matrix<float> y) {
  share_cells(y.rows, y.cols, 65536, [&](int64_t t, int64_t i, int64_t last) {
    const float* in = x.row(t);
    float* out = y.row(t);
    const Lanes f = fill(factor);
    for (; i + kLanes <= last; i += kLanes) store(out + i, load(in + i) * f);
    if (const int rest = static_cast<int>(last - i)) store(out + i, load(in + i, rest) * f, rest);
  });
}

}  // namespace
}  // namespace gemloupe
