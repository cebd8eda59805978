#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/experts/combine_vector.h"  // after its Lanes

namespace gemloupe::avx2 {

void combine_experts(Matrix<const float> x, Matrix<const int32_t> experts, Matrix<const float> weights, Matrix<float> y) {
  combine_experts_lanes(x, experts, weights, y);
}

}  // namespace gemloupe::avx2

#endif
