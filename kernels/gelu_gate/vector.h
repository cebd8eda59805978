// The vector loop of gelu_gate; avx2.cpp and avx512.cpp include it after their Lanes.
#pragma once

#include "kernels/common/cells.h"
#include "kernels/gelu_gate/gelu_gate.h"

namespace gemloupe {
namespace {

[[gnu::always_inline]] inline void gelu_gate_lanes(Matrix<const float> gate, Matrix<const float> up, Matrix<float> y) {
  share_cells(y.rows, y.cols, 2048, [&](int64_t t, int64_t i, int64_t last) {
    const float *g = gate.row(t), *u = up.row(t);
    float* out = y.row(t);
    for (; i + kLanes <= last; i += kLanes) store(out + i, gelu_(load(g + i)) * load(u + i));
    if (const int rest = static_cast<int>(last - i)) store(out + i, gelu_(load(g + i, rest)) * load(u + i, rest), rest);
  });
}

}  // namespace
}  // namespace gemloupe
