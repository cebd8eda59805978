#if defined(__AVX512F__)

#include "kernels/common/lanes_avx512.h"

#include "kernels/rms_norm/vector.h"  // after its Lanes

namespace gemloupe::avx512 {

void rms_norm(Matrix<const float> x, const float* scale, float eps, float factor, Matrix<float> y) {
  rms_norm_lanes(x, scale, eps, factor, y);
}

}  // namespace gemloupe::avx512

#endif
