#include <cmath>

#include "kernels/common/team.h"
#include "kernels/gather/gather.h"

namespace gemloupe::reference {

void gather(Matrix<const float> table, const int32_t* ids, float factor, Matrix<float> y) {
  share(y.rows, 16, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const bool inside = ids[t] >= 0 && ids[t] < table.rows;
      for (int64_t i = 0; i < y.cols; ++i) y.row(t)[i] = inside ? table.row(ids[t])[i] * factor : NAN;
    }
  });
}

}  // namespace gemloupe::reference
