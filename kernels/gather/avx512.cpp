#if defined(__AVX512F__)

#include "kernels/common/lanes_avx512.h"

#include "kernels/gather/vector.h"  // after its Lanes

namespace gemloupe::avx512 {

void gather(Matrix<const float> table, const int32_t* ids, float factor, Matrix<float> y) {
  gather_lanes(table, ids, factor, y);
}

}  // namespace gemloupe::avx512

#endif
