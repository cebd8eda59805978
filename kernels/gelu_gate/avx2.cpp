#if defined(__AVX2__)

#include "kernels/common/lanes_avx2.h"

#include "kernels/gelu_gate/vector.h"  // after its Lanes

namespace gemloupe::avx2 {

void gelu_gate(Matrix<const float> gate, Matrix<const float> up, Matrix<float> y) { gelu_gate_lanes(gate, up, y); }

}  // namespace gemloupe::avx2

#endif
