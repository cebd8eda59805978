#if defined(__AVX512F__)

#include "kernels/common/lanes_avx512.h"

#include "kernels/softcap/vector.h"  // after its Lanes

namespace gemloupe::avx512 {

void softcap(Matrix<const float> x, float cap, Matrix<float> y) { softcap_lanes(x, cap, y); }

}  // namespace gemloupe::avx512

#endif
