#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/rms_norm/vector.h"  // after its Lanes

namespace gemloupe::avx2 {

void rms_norm(Matrix<const float> x, const float* scale, float eps, float factor, Matrix<float> y) {
  rms_norm_lanes(x, scale, eps, factor, y);
}

}  // namespace gemloupe::avx2

#endif
