#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/softcap/vector.h"  // after its Lanes

namespace gemloupe::avx2 {

void softcap(Matrix<const float> x, float cap, Matrix<float> y) { softcap_lanes(x, cap, y); }

}  // namespace gemloupe::avx2

#endif
