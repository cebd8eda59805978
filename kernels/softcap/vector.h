// The vector loop of softcap; avx2.cpp and avx512.cpp include it after their Lanes.
#pragma once

#include "kernels/common/cells.h"
#include "kernels/softcap/softcap.h"

namespace gemloupe {
namespace {

[[gnu::always_inline]] inline void softcap_lanes(Matrix<const float> x, float cap, Matrix<float> y) {
  share_cells(y.rows, y.cols, 2048, [&](int64_t t, int64_t i, int64_t last) {
    const float* in = x.row(t);
    float* out = y.row(t);
    const Lanes c = fill(cap);
    for (; i + kLanes <= last; i += kLanes) store(out + i, c * tanh_(load(in + i) / c));
    if (const int rest = static_cast<int>(last - i)) store(out + i, c * tanh_(load(in + i, rest) / c), rest);
  });
}

}  // namespace
}  // namespace gemloupe
