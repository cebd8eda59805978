// y = x Wᵀ over float, half and bfloat16 weights, in float32 sums.
//
// y[t, r] is the sum over i of x[t, i] * w[r, i] in the order of kernels/common/sum.h: 16 lanes, fused multiply-adds,
// folded in halves. Half and bfloat16 weights are widened to float first, which is exact. So an output depends on its two
// rows alone, and every variant gives the same bits (where the result is a NaN, any NaN).
#pragma once

#include <cstdint>

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

// x is [T, cols], w is [rows, cols], y is [T, rows]; y overlaps neither. Weights may lie at any address (the files' do).
// Shared by the team's threads; may be called from inside a shared loop, where it runs on the calling thread.
using MatmulFloat = void(Matrix<const float> x, Matrix<const float> w, Matrix<float> y);
using MatmulHalf = void(Matrix<const float> x, Matrix<const uint16_t> w, Matrix<float> y);
extern const Kernel<MatmulFloat> matmul_float;
extern const Kernel<MatmulHalf> matmul_f16;
extern const Kernel<MatmulHalf> matmul_bf16;

}  // namespace gemloupe
