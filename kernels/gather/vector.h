// The vector loop of gather; avx2.cpp and avx512.cpp include it after their Lanes.
#pragma once

#include "kernels/common/team.h"
#include "kernels/gather/gather.h"

namespace gemloupe {
namespace {

[[gnu::always_inline]] inline void gather_lanes(Matrix<const float> table, const int32_t* ids, float factor, Matrix<float> y) {
  share(y.rows, 16, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const bool inside = ids[t] >= 0 && ids[t] < table.rows;
      const float* in = table.row(inside ? ids[t] : 0);
      const Lanes f = fill(factor), nothing = fill(__builtin_nanf(""));
      float* out = y.row(t);
      int64_t i = 0;
      for (; i + kLanes <= y.cols; i += kLanes) store(out + i, inside ? load(in + i) * f : nothing);
      if (const int rest = static_cast<int>(y.cols - i)) store(out + i, inside ? load(in + i, rest) * f : nothing, rest);
    }
  });
}

}  // namespace
}  // namespace gemloupe
