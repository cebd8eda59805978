#include "kernels/common/cells.h"
#include "kernels/common/math.h"
#include "kernels/softcap/softcap.h"

namespace gemloupe::reference {

void softcap(Matrix<const float> x, float cap, Matrix<float> y) {
  share_cells(y.rows, y.cols, 4096, [&](int64_t t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) y.row(t)[i] = cap * tanh_(x.row(t)[i] / cap);
  });
}

}  // namespace gemloupe::reference
