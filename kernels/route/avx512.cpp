#if defined(__AVX512F__)

#include "kernels/common/lanes_avx512.h"

#include "kernels/route/vector.h"  // after its Lanes

namespace gemloupe::avx512 {

void top_k(Matrix<const float> scores, Routing routing, const float* bias, const float* per_expert_scale,
           Matrix<int32_t> experts, Matrix<float> weights) {
  top_k_lanes(scores, routing, bias, per_expert_scale, experts, weights);
}

}  // namespace gemloupe::avx512

#endif
