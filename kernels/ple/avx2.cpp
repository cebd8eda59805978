#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/ple/vector.h"  // after its Lanes

namespace gemloupe::avx2 {

void ple_combine(Matrix<const float> context, Matrix<const float> table, Matrix<float> y) {
  ple_combine_lanes(context, table, y);
}

}  // namespace gemloupe::avx2

#endif
