// The vector loop of combine_experts; avx2_combine.cpp and avx512_combine.cpp include it after their Lanes.
#pragma once

#include "kernels/common/team.h"
#include "kernels/experts/combine.h"

namespace gemloupe {
namespace {

[[gnu::always_inline]] inline void combine_experts_lanes(Matrix<const float> x, Matrix<const int32_t> experts,
                                                         Matrix<const float> weights, Matrix<float> y) {
  const int64_t slots = experts.cols, full = y.cols / kLanes * kLanes;
  const int rest = static_cast<int>(y.cols - full);
  share(y.rows, 1 + 32768 / (slots * y.cols + 1), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const int32_t* e = experts.row(t);
      const float *w = weights.row(t), *from = x.row(t * slots);
      float* to = y.row(t);
      for (int64_t i = 0; i < full; i += kLanes) {
        Lanes sum = fill(0.0f);
        for (int64_t s = 0; s < slots; ++s)
          if (e[s] >= 0) sum = sum + fill(w[s]) * load(from + s * x.stride + i);
        store(to + i, sum);
      }
      if (!rest) continue;
      Lanes sum = fill(0.0f);
      for (int64_t s = 0; s < slots; ++s)
        if (e[s] >= 0) sum = sum + fill(w[s]) * load(from + s * x.stride + full, rest);
      store(to + full, sum, rest);
    }
  });
}

}  // namespace
}  // namespace gemloupe
