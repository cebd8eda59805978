#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/rope/vector.h"  // after its Lanes

namespace gemloupe::avx2 {

void rope(Matrix<const float> x, const int32_t* positions, const float* inv_freq, int head_dim, Matrix<float> y) {
  rope_lanes(x, positions, inv_freq, head_dim, y);
}

}  // namespace gemloupe::avx2

#endif
