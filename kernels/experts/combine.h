// y[t] = the sum over slots s of weight[t, s] * x[t * slots + s]: what the experts of a row gave becomes one row again.
//
// Slots are taken in ascending order, from +0, each product rounded and then added; a slot whose expert is -1 is left out.
#pragma once

#include <cstdint>

#include "kernels/common/kernel.h"
#include "kernels/common/matrix.h"

namespace gemloupe {

// x is [y.rows * slots, y.cols], experts and weights are [y.rows, slots]. y overlaps nothing else. Shared by the team's threads.
using CombineExperts = void(Matrix<const float> x, Matrix<const int32_t> experts, Matrix<const float> weights, Matrix<float> y);
extern const Kernel<CombineExperts> combine_experts;

namespace reference { CombineExperts combine_experts; }
namespace avx2 { CombineExperts combine_experts; }
namespace avx512 { CombineExperts combine_experts; }

}  // namespace gemloupe
