#if defined(__AVX512F__)

#include "kernels/common/lanes_avx512.h"

#include "kernels/ple/vector.h"  // after its Lanes

namespace gemloupe::avx512 {

void ple_combine(Matrix<const float> context, Matrix<const float> table, Matrix<float> y) {
  ple_combine_lanes(context, table, y);
}

}  // namespace gemloupe::avx512

#endif
