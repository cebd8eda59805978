#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/add/vector.h"  // after its Lanes

namespace gemloupe::avx2 {

void add(Matrix<const float> a, Matrix<const float> b, Matrix<float> y) { add_lanes(a, b, y); }

void scale(Matrix<const float> x, float factor, Matrix<float> y) { scale_lanes(x, factor, y); }

}  // namespace gemloupe::avx2

#endif
