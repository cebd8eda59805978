#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/route/vector.h"  // after its Lanes

namespace gemloupe::avx2 {

void top_k(Matrix<const float> scores, Routing routing, const float* bias, const float* per_expert_scale,
           Matrix<int32_t> experts, Matrix<float> weights) {
  top_k_lanes(scores, routing, bias, per_expert_scale, experts, weights);
}

}  // namespace gemloupe::avx2

#endif
