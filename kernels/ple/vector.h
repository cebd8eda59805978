// The vector loop of ple; avx2.cpp and avx512.cpp include it after their Lanes.
#pragma once

#include "kernels/common/cells.h"
#include "kernels/ple/ple.h"

namespace gemloupe {
namespace {

[[gnu::always_inline]] inline void ple_combine_lanes(Matrix<const float> context, Matrix<const float> table, Matrix<float> y) {
  share_cells(y.rows, y.cols, 65536, [&](int64_t t, int64_t i, int64_t last) {
    const float *c = context.row(t), *p = table.row(t);
    float* out = y.row(t);
    const Lanes half = fill(kHalfRoot);
    for (; i + kLanes <= last; i += kLanes) store(out + i, (load(c + i) + load(p + i)) * half);
    if (const int rest = static_cast<int>(last - i)) store(out + i, (load(c + i, rest) + load(p + i, rest)) * half, rest);
  });
}

}  // namespace
}  // namespace gemloupe
