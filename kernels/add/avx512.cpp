#if defined(__AVX512F__)

#include "kernels/common/lanes_avx512.h"

#include "kernels/add/vector.h"  // after its Lanes

namespace gemloupe::avx512 {

void add(Matrix<const float> a, Matrix<const float> b, Matrix<float> y) { add_lanes(a, b, y); }

void scale(Matrix<const float> x, float factor, Matrix<float> y) { scale_lanes(x, factor, y); }

}  // namespace gemloupe::avx512

#endif
