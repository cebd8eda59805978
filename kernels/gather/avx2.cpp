#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/gather/vector.h"  // after its Lanes

namespace gemloupe::avx2 {

void gather(Matrix<const float> table, const int32_t* ids, float factor, Matrix<float> y) {
  gather_lanes(table, ids, factor, y);
}

}  // namespace gemloupe::avx2

#endif
