#if defined(__AVX512F__)

#include "kernels/common/lanes_avx512.h"

#include "kernels/experts/combine_vector.h"  // after its Lanes

namespace gemloupe::avx512 {

void combine_experts(Matrix<const float> x, Matrix<const int32_t> experts, Matrix<const float> weights, Matrix<float> y) {
  combine_experts_lanes(x, experts, weights, y);
}

}  // namespace gemloupe::avx512

#endif
