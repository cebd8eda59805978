#include "kernels/add/add.h"

#include "kernels/common/cells.h"

namespace gemloupe::reference {

void add(Matrix<const float> a, Matrix<const float> b, Matrix<float> y) {
  share_cells(y.rows, y.cols, 65536, [&](int64_t t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) y.row(t)[i] = a.row(t)[i] + b.row(t)[i];
  });
}

void scale(Matrix<const float> x, float factor, Matrix<float> y) {
  share_cells(y.rows, y.cols, 65536, [&](int64_t t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) y.row(t)[i] = x.row(t)[i] * factor;
  });
}

}  // namespace gemloupe::reference
