#include "kernels/common/cells.h"
#include "kernels/common/math.h"
#include "kernels/gelu_gate/gelu_gate.h"

namespace gemloupe::reference {

void gelu_gate(Matrix<const float> gate, Matrix<const float> up, Matrix<float> y) {
  share_cells(y.rows, y.cols, 4096, [&](int64_t t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) y.row(t)[i] = gelu_(gate.row(t)[i]) * up.row(t)[i];
  });
}

}  // namespace gemloupe::reference
